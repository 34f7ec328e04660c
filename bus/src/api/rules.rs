//! Rules: the ones in force, and trying one on an event.

use std::fmt;

use ::rules::{EventFault, Explanation, Filter, ParseOptions, Part, Pattern, explain};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::call::{Answer, Call, json};
use super::json::{Object, string};
use super::problem::Problem;
use super::{page, subscriptions};
use crate::error::Fault;
use crate::model::{Code, InputConfig, RuleConfig, TargetConfig};
use crate::view::ALIASES;

/// Filters of one test.
pub(super) const FILTERS_MAX: usize = 32;

/// `GET /v1/rules`.
pub(super) async fn list(call: Call) -> Answer {
    call.query(&[])?;
    page::whole(&call.app, "rules", call.app.bus.rules(), |out, rule| {
        write(out, &rule);
    })
}

fn write(out: &mut Vec<u8>, rule: &RuleConfig) {
    let mut object = Object::new(out);
    object.text("name", rule.name.as_str());
    object.text("bus", rule.bus.as_str());
    // The pattern is JSON already.
    let pattern = rule.pattern.as_deref().unwrap_or("null");
    object.member("match").extend_from_slice(pattern.as_bytes());
    object.array("where", &rule.filters, |out, filter| string(out, filter));
    object.array("to", &rule.targets, |out, target| {
        let mut object = Object::new(out);
        object.text("function", target.function.as_str());
        write_input(&mut object, target);
        subscriptions::write_policy(&mut object, target);
        object.end();
    });
    object.end();
}

/// How the target's input is made, as the manifest writes it.
fn write_input(object: &mut Object<'_>, target: &TargetConfig) {
    match &target.input {
        None => {}
        Some(InputConfig::Path(path)) => object.text("input", path),
        // The template is JSON already.
        Some(InputConfig::Template(json)) => {
            object.member("input").extend_from_slice(json.as_bytes());
        }
        Some(InputConfig::EventBridge { paths, template }) => {
            let mut own = Object::new(object.member("input_paths"));
            for (name, path) in paths {
                own.text(name, path);
            }
            own.end();
            object.text("input_template", template);
        }
    }
}

/// What `POST /v1/rules/test` takes. The event may be a part of one: only what the rule names counts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test<'a> {
    #[serde(borrow, rename = "match")]
    pattern: Option<&'a RawValue>,
    #[serde(default, rename = "where")]
    filters: Filters,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// One filter or several.
#[derive(Default)]
struct Filters(Vec<String>);

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        match Option::<OneOrMany>::deserialize(deserializer)? {
            None => Ok(Self::default()),
            Some(OneOrMany::One(filter)) => Ok(Self(vec![filter])),
            Some(OneOrMany::Many(filters)) if filters.len() <= FILTERS_MAX => Ok(Self(filters)),
            Some(OneOrMany::Many(_)) => Err(D::Error::custom("too many filters")),
        }
    }
}

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
                    if list.len() >= 64 {
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

/// `POST /v1/rules/test`: `{"match","where","event"}` → matched or not, with the explanation.
pub(super) async fn test(call: Call) -> Answer {
    call.query(&[])?;
    let app = call.app.clone();
    let (bytes, _charge) = call
        .body(&["application/json"], app.limits.event_bytes_max)
        .await?;
    Ok(json(tried(&bytes)?))
}

fn tried(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let test: Test<'_> = serde_json::from_slice(bytes).map_err(|error| malformed("", &error))?;
    let explanation = test
        .pattern
        .map(|pattern| explained(pattern, test.event))
        .transpose()?;
    let mut filters = Vec::with_capacity(test.filters.0.len());
    if !test.filters.0.is_empty() {
        let event: serde_json::Value =
            serde_json::from_str(test.event.get()).map_err(|error| malformed("/event", &error))?;
        for (index, text) in test.filters.0.iter().enumerate() {
            let filter = Filter::parse(text).map_err(|fault| {
                faults(
                    "a filter can't be read",
                    &format!("/where/{index}"),
                    vec![fault],
                )
            })?;
            filters.push((text, filter.holds(&event)));
        }
    }
    let matched =
        explanation.as_ref().is_none_or(|own| own.matched) && filters.iter().all(|(_, held)| *held);
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.boolean("matched", matched);
    serde_json::to_writer(object.member("explanation"), &explanation)
        .expect("a Vec takes every byte and an explanation is plain data");
    object.array("where", filters, |out, (query, held)| {
        let mut object = Object::new(out);
        object.text("query", query);
        object.boolean("held", held);
        object.end();
    });
    object.end();
    Ok(out)
}

fn explained(pattern: &RawValue, event: &RawValue) -> Result<Explanation, Problem> {
    let pattern = parsed(pattern.get())?;
    let Members(members) =
        serde_json::from_str(event.get()).map_err(|error| malformed("/event", &error))?;
    let parts: Vec<Part<'_>> = members
        .iter()
        .map(|(name, value)| Part::Raw {
            name,
            json: value.get().as_bytes(),
        })
        .collect();
    explain(&pattern, &parts).map_err(|fault| event_fault(&fault))
}

/// A pattern as the manifest takes it; its faults are told below `/match`.
pub(super) fn parsed(pattern: &str) -> Result<Pattern, Problem> {
    let options = ParseOptions {
        aliases: &ALIASES,
        ..ParseOptions::default()
    };
    Pattern::parse(pattern.as_bytes(), &options)
        .map_err(|all| faults("the pattern can't be read", "/match", all))
}

fn malformed(pointer: &str, error: &serde_json::Error) -> Problem {
    let mut problem = Problem::fault(pointer, error.to_string(), "");
    if pointer.is_empty() && error.line() > 0 {
        problem.faults[0].place = Some((error.line() as u64, error.column() as u64));
    }
    problem
}

fn event_fault(fault: &EventFault) -> Problem {
    let part = fault.part.as_deref().unwrap_or("");
    let escaped = part.replace('~', "~0").replace('/', "~1");
    Problem::fault(format!("/event/{escaped}"), fault.reason.clone(), "").coded(Code::EventInvalid)
}

fn faults(detail: &str, base: &str, all: Vec<::rules::Fault>) -> Problem {
    let faults = all
        .into_iter()
        .map(|fault| Fault {
            pointer: format!("{base}{}", fault.pointer),
            place: None,
            reason: fault.reason,
            remedy: fault.remedy,
        })
        .collect();
    Problem::invalid(detail, faults).coded(Code::PatternInvalid)
}

#[cfg(test)]
mod tests {
    use super::tried;

    fn check(body: &str) -> Result<serde_json::Value, (u16, String)> {
        tried(body.as_bytes())
            .map(|out| serde_json::from_slice(&out).unwrap())
            .map_err(|problem| (problem.status(), problem.faults[0].pointer.clone()))
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
        let no = check(r#"{"match":{"type":["b"]},"event":{"type":"a"}}"#).unwrap();
        assert_eq!(no["matched"], false);
        let all = check(r#"{"event":{"type":"a"}}"#).unwrap();
        assert_eq!(all["matched"], true);
        let filtered = check(r#"{"where":["$.x"],"event":{"type":"a"}}"#).unwrap();
        assert_eq!(filtered["matched"], false);
    }

    #[test]
    fn what_can_not_be_read_is_a_fault_with_its_place() {
        let at = |body| check(body).unwrap_err();
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
        assert_eq!(
            at(r#"{"match":{"a":[1]},"event":[]}"#),
            (400, "/event".into())
        );
        assert_eq!(
            at(r#"{"match":{"a":[1]},"event":{"a":1,"a":2}}"#),
            (400, "/event".into())
        );
    }
}
