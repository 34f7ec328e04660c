//! Tries a rule from a request on an event: pattern, filters and input. Nothing is published.
//!
//! Errors are reported with pointers into the request. Valid rules are matched in the same way as active ones.
//! Never here: matching of its own.

use std::fmt;

use edgebus_api::{self as api, RuleTest};
use edgebus_rules::EventError;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::call::{Answer, Call, json, object};
use super::super::problem::Problem;
use super::super::verdict;
use super::{errors_of, parsed};
use edgebus_manifest::view::{self, Unjudged, View};
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Code, InputConfig, Name, RuleConfig, Target, TargetConfig, Timestamp};

/// What the rule of a trial and its function are called.
const NAME: &str = "test";
/// Members of an event that is tried; a CloudEvent has far fewer.
const MEMBERS_MAX: usize = 64;

/// The members of an event, each once.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an event as a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut list: Vec<(String, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if list.len() >= MEMBERS_MAX {
                        return Err(A::Error::custom("the event has too many attributes"));
                    }
                    if list.iter().any(|(own, _)| *own == name) {
                        return Err(A::Error::custom(format!("`{name}` is given twice")));
                    }
                    list.push((name, value));
                }
                Ok(Members(list))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// `POST /v1/rules/test`: `{"match","where","input","event"}` → matched or not, with the explanation,
/// and what a target would get.
pub(crate) async fn test(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let app = call.app.clone();
    let (bytes, reservation) = call
        .body(&["application/json"], app.limits.event_bytes_max)
        .await?;
    // Trying one rule may cost as much as matching all rules of a bus. Other requests must not wait for that.
    let tried = app.judging.run(move || {
        let tried = tried(&bytes);
        drop(reservation);
        tried
    });
    Ok(json(&tried.await.map_err(Problem::denied)??))
}

fn tried(bytes: &[u8]) -> Result<api::RuleTrial, Problem> {
    let test: RuleTest = object(bytes).map_err(|error| malformed("", &error))?;
    let rule = rule(&test)?;
    let Members(members) =
        serde_json::from_str(test.event.get()).map_err(|error| malformed("/event", &error))?;
    let view = View::of_members(&members);
    // A trial has no time of acceptance.
    let judged =
        view::check_keys(&rule, &view).and_then(|()| view::judge(&rule, &view, Timestamp(0)));
    let verdict = judged.map_err(|error| match error {
        Unjudged::Event(input_error) => event_error(&input_error),
        Unjudged::Rule(reason) => Problem::input_error("", reason, "").coded(Code::PatternInvalid),
    })?;
    Ok(verdict::of_trial(verdict, rule.targets[0].input.is_some()))
}

/// The rule that is tried, if nothing is wrong with it.
fn rule(test: &RuleTest) -> Result<RuleConfig, Problem> {
    if let Some(pattern) = &test.pattern {
        parsed(pattern.get())?;
    }
    for (index, text) in test.filters.0.iter().enumerate() {
        view::parse_filter(text).map_err(|error| {
            let base = format!("/where/{index}");
            errors_of("a filter can't be read", &base, vec![error])
        })?;
    }
    let input = input(test)?;
    if let Some(config) = &input {
        let base = match config {
            InputConfig::EventBridge { .. } => "",
            InputConfig::Path(_) | InputConfig::Template(_) => "/input",
        };
        view::compile_input(config)
            .map_err(|all| errors_of("the input can't be read", base, all))?;
    }
    let name = |text| Name::new(text).expect("a short word is a name");
    Ok(RuleConfig {
        enabled: true,
        description: None,
        name: name(NAME),
        bus: name(DEFAULT_BUS),
        pattern: test
            .pattern
            .as_ref()
            .map(|pattern| pattern.get().to_owned()),
        filters: test.filters.0.clone(),
        targets: vec![TargetConfig {
            input,
            ..TargetConfig::with_defaults(&name(NAME), Target::Function(name(NAME)))
        }],
    })
}

/// How the target's input is made, as the manifest writes it.
fn input(test: &RuleTest) -> Result<Option<InputConfig>, Problem> {
    match (&test.input, &test.input_paths, &test.input_template) {
        (None, None, None) => Ok(None),
        (Some(input), None, None) => Ok(Some(view::input_config(input.get()))),
        (None, paths, Some(template)) => Ok(Some(InputConfig::EventBridge {
            paths: paths.clone().unwrap_or_default().into_iter().collect(),
            template: template.clone(),
        })),
        (None, Some(_), None) => Err(Problem::input_error(
            "/input_paths",
            "`input_paths` without `input_template` makes no input",
            "write `input_template` beside it, or `input` alone",
        )
        .coded(Code::PatternInvalid)),
        (Some(_), ..) => Err(Problem::input_error(
            "/input",
            "`input` is given beside `input_paths` or `input_template`",
            "write `input`, or the two in EventBridge's form",
        )
        .coded(Code::PatternInvalid)),
    }
}

fn malformed(pointer: &str, error: &serde_json::Error) -> Problem {
    let mut problem = Problem::input_error(pointer, error.to_string(), "");
    if pointer.is_empty() && error.line() > 0 {
        problem.errors[0].place = Some((error.line() as u64, error.column() as u64));
    }
    problem
}

fn event_error(error: &EventError) -> Problem {
    let part = error.part.as_deref().unwrap_or("");
    let escaped = part.replace('~', "~0").replace('/', "~1");
    Problem::input_error(format!("/event/{escaped}"), error.reason.clone(), "")
        .coded(Code::EventInvalid)
}

#[cfg(test)]
mod tests {
    use super::tried;

    fn check(body: &str) -> Result<serde_json::Value, (u16, String)> {
        tried(body.as_bytes())
            .map(|out| serde_json::to_value(out).unwrap())
            .map_err(|problem| (problem.status(), problem.errors[0].pointer.clone()))
    }

    #[test]
    fn a_rule_is_tried_with_its_filters() {
        let yes = check(
            r#"{"match":{"detail-type":["a"],"data":{"n":[{"numeric":[">",1]}]}},
                "where":"$.data.list[?@ == 2]","event":{"type":"a","data":{"n":2,"list":[1,2]}}}"#,
        )
        .unwrap();
        assert_eq!(yes["matched"], true);
        assert_eq!(yes["where"][0]["held"], true);
        assert_eq!(yes["explanation"]["matched"], true);
        assert!(yes.get("input").is_none());
        let no = check(r#"{"match":{"type":["b"]},"event":{"type":"a"}}"#).unwrap();
        assert_eq!(no["matched"], false);
        let all = check(r#"{"event":{"type":"a"}}"#).unwrap();
        assert_eq!(all["matched"], true);
        let beyond = r#"{"where":["$.data.x"],"event":{"type":"a","data":{"x":1e400}}}"#;
        assert_eq!(check(beyond).unwrap()["matched"], true);
        let filtered = check(r#"{"where":["$.x"],"event":{"type":"a"}}"#).unwrap();
        assert_eq!(filtered["matched"], false);
    }

    #[test]
    fn an_input_is_made_as_the_manifest_writes_it() {
        let event = r#""event":{"type":"a","data":{"n":1.50,"s":"x"}}"#;
        let made = |rule: &str| {
            let made = tried(format!("{{{rule},{event}}}").as_bytes()).unwrap();
            made.input.unwrap().get().to_owned()
        };
        let table = [
            (r#""input":"$.data.n""#, "1.50"),
            (r#""input":"$.detail.s""#, r#""x""#),
            (r#""input":"$.data.none""#, "null"),
            (r#""input":"n is {$.data.n}""#, r#""n is 1.50""#),
            (r#""input":{"a":["{$.data.n}",1]}"#, r#"{"a":[1.50,1]}"#),
            (r#""match":{"type":["b"]},"input":"$.data.n""#, "null"),
            (
                r#""input_paths":{"n":"$.data.n"},"input_template":"{\"n\": <n>}""#,
                r#"{"n":1.50}"#,
            ),
            (
                r#""input_template":"\"<aws.events.rule-name>\"""#,
                r#""test""#,
            ),
        ];
        for (rule, expected) in table {
            assert_eq!(made(rule), expected, "{rule}");
        }
        let error = |rule: &str| check(&format!("{{{rule},{event}}}")).unwrap_err();
        assert_eq!(error(r#""input":"$[""#), (400, "/input".into()));
        assert_eq!(
            error(r#""input":{"a":"{$.data"}"#),
            (400, "/input/a".into())
        );
        assert_eq!(
            error(r#""input_paths":{"n":"$["},"input_template":"<n>""#),
            (400, "/input_paths/n".into())
        );
        assert_eq!(error(r#""input_paths":{}"#), (400, "/input_paths".into()));
        assert_eq!(
            error(r#""input":1,"input_template":"1""#),
            (400, "/input".into())
        );
    }

    #[test]
    fn what_can_not_be_read_is_an_error_with_its_place() {
        let at = |body: &str| check(body).unwrap_err();
        assert_eq!(at("{"), (400, String::new()));
        assert_eq!(at("{}"), (400, String::new()));
        assert_eq!(at(r#"{"event":{},"x":1}"#), (400, String::new()));
        assert_eq!(at(r#"{"match":{"a":[{"prefx":"b"}]},"event":{}}"#).0, 400);
        assert!(
            at(r#"{"match":{"a":[{"prefx":"b"}]},"event":{}}"#)
                .1
                .starts_with("/match/a")
        );
        assert_eq!(at(r#"{"where":"$[","event":{}}"#).0, 400);
        for event in ["[]", r#"{"a":1,"a":2}"#] {
            let body = format!(r#"{{"match":{{"a":[1]}},"event":{event}}}"#);
            assert_eq!(at(&body), (400, "/event".into()));
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        let body = format!(r#"{{"match":{{"a":[1]}},"event":{deep}}}"#);
        assert_eq!(at(&body), (400, "/event/a".into()));
    }
}
