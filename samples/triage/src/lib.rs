//! Triage of GitHub issues and pull requests: kind, urgency, and who should look at it.
//!
//! Takes `com.github.issues` and `com.github.pull_request`, whose data is the webhook's payload, and emits
//! `com.example.triage.labelled` with labels, a priority and the reasons. It emits nothing for actions that
//! don't change the triage, and nothing for members of the project unless the issue is urgent. Repeated
//! attempts decide the same, because only the event counts.
//!
//! Config: `LABEL` is what everything undecided gets, `needs-triage` if it is not set.

#![forbid(unsafe_code)]

use edgebus_sdk::{Emit, Event, Failure, config, function, log};
use serde::{Deserialize, Serialize};

/// The part of a webhook's payload that this function reads.
#[derive(Deserialize)]
pub struct Payload {
    action: String,
    issue: Option<Subject>,
    pull_request: Option<Subject>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

/// An issue or a pull request.
#[derive(Deserialize)]
struct Subject {
    number: u64,
    title: String,
    body: Option<String>,
    #[serde(default)]
    author_association: String,
    #[serde(default)]
    labels: Vec<Label>,
    /// Pull requests only.
    #[serde(default)]
    draft: bool,
    /// Pull requests only, and not in every event.
    changed_files: Option<u32>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

/// What was decided.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub struct Triage {
    repository: String,
    number: u64,
    labels: Vec<String>,
    priority: Priority,
    reasons: Vec<String>,
}

/// How soon someone should look.
#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// When there is time.
    Low,
    /// In turn.
    Normal,
    /// Today.
    High,
    /// Now.
    Urgent,
}

/// Words, the label that they stand for and the priority that they ask for.
const SIGNS: [(&[&str], &str, Priority); 6] = [
    (
        &[
            "security",
            "vulnerability",
            "cve-",
            "exploit",
            "secret leaked",
        ],
        "security",
        Priority::Urgent,
    ),
    (
        &["data loss", "lost data", "corrupt"],
        "data-loss",
        Priority::Urgent,
    ),
    (
        &[
            "crash",
            "panic",
            "segfault",
            "deadlock",
            "hangs",
            "regression",
        ],
        "bug",
        Priority::High,
    ),
    (
        &["bug", "broken", "error", "fails"],
        "bug",
        Priority::Normal,
    ),
    (
        &["feature", "support for", "would be nice", "proposal"],
        "enhancement",
        Priority::Low,
    ),
    (
        &["typo", "docs", "readme", "documentation"],
        "documentation",
        Priority::Low,
    ),
];
/// Who needs no help with labels.
const INSIDERS: [&str; 3] = ["OWNER", "MEMBER", "COLLABORATOR"];
/// A pull request of more files needs time.
const LARGE_FILES: u32 = 30;

#[function]
fn handle(event: Event<Payload>) -> Result<Option<Emit>, Failure> {
    let payload = event.data;
    let subject = match (event.kind.as_str(), payload.issue, payload.pull_request) {
        ("com.github.issues", Some(issue), _) => issue,
        ("com.github.pull_request", _, Some(pull_request)) => pull_request,
        (kind, ..) => {
            return Err(Failure::reject(format!(
                "`{kind}` with this payload is neither an issue nor a pull request"
            )));
        }
    };
    if !matches!(
        payload.action.as_str(),
        "opened" | "edited" | "reopened" | "ready_for_review"
    ) || subject.draft
    {
        log::debug!(
            "#{}: nothing to decide on `{}`",
            subject.number,
            payload.action
        );
        return Ok(None);
    }
    let Some(triage) = decide(&subject, payload.repository.full_name) else {
        log::info!("#{} is from an insider and not urgent", subject.number);
        return Ok(None);
    };
    log::info!(
        "#{}: {} ({:?})",
        triage.number,
        triage.labels.join(", "),
        triage.priority
    );
    let about = format!("{}#{}", triage.repository, triage.number);
    let emit = Emit::new("com.example.triage.labelled").subject(about);
    Ok(Some(emit.json(&triage)?))
}

fn decide(subject: &Subject, repository: String) -> Option<Triage> {
    let text = format!(
        "{}\n{}",
        subject.title,
        subject.body.as_deref().unwrap_or_default()
    )
    .to_lowercase();
    let mut triage = Triage {
        repository,
        number: subject.number,
        labels: Vec::new(),
        priority: Priority::Low,
        reasons: Vec::new(),
    };
    for (words, label, priority) in SIGNS {
        let Some(word) = words.iter().find(|word| text.contains(**word)) else {
            continue;
        };
        add(
            &mut triage,
            label,
            priority,
            format!("says `{}`", word.trim()),
        );
    }
    if subject
        .changed_files
        .is_some_and(|files| files > LARGE_FILES)
    {
        add(
            &mut triage,
            "large",
            Priority::Normal,
            "changes many files".to_owned(),
        );
    }
    let association = subject.author_association.as_str();
    if matches!(association, "FIRST_TIME_CONTRIBUTOR" | "FIRST_TIMER") {
        add(
            &mut triage,
            "first-contribution",
            Priority::Normal,
            "is a first one".to_owned(),
        );
    }
    let insider = INSIDERS.contains(&association);
    if insider && triage.priority < Priority::High {
        return None;
    }
    if triage.labels.is_empty() {
        let label = config::get("LABEL").unwrap_or_else(|| "needs-triage".to_owned());
        add(
            &mut triage,
            &label,
            Priority::Normal,
            "nothing tells what it is".to_owned(),
        );
    }
    // What is there already needn't be set again.
    triage
        .labels
        .retain(|label| !subject.labels.iter().any(|there| there.name == *label));
    (!triage.labels.is_empty()).then_some(triage)
}

fn add(triage: &mut Triage, label: &str, priority: Priority, reason: String) {
    if !triage.labels.iter().any(|there| there == label) {
        triage.labels.push(label.to_owned());
    }
    triage.priority = triage.priority.max(priority);
    triage.reasons.push(reason);
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};
    use serde_json::{Value, json};

    fn run(kind: &str, payload: &Value) -> Result<Option<Triage>, Failure> {
        let event = testing::event_from_json(kind, &payload.to_string())?;
        Ok(handle(event)?.map(|emit| {
            assert_eq!(emit.kind, "com.example.triage.labelled");
            emit.data_as().expect("it is a triage")
        }))
    }

    fn issue(title: &str, association: &str, labels: &[&str]) -> Value {
        let labels: Vec<Value> = labels.iter().map(|name| json!({ "name": name })).collect();
        json!({
            "action": "opened",
            "issue": {
                "number": 7, "title": title, "body": null,
                "author_association": association, "labels": labels,
            },
            "repository": { "full_name": "acme/app" },
        })
    }

    fn check(
        title: &str,
        association: &str,
        labels: &[&str],
        expected: Option<(&[&str], Priority)>,
    ) {
        let triage =
            run("com.github.issues", &issue(title, association, labels)).expect("no failure");
        let triage = triage.map(|triage| (triage.labels, triage.priority));
        let expected = expected.map(|(labels, priority)| {
            (
                labels.iter().map(|label| (*label).to_owned()).collect(),
                priority,
            )
        });
        assert_eq!(triage, expected, "{title}");
    }

    #[test]
    fn words_decide() {
        let _harness = Harness::new();
        check("It panics", "NONE", &[], Some((&["bug"], Priority::High)));
        check(
            "CVE-2026-1",
            "NONE",
            &[],
            Some((&["security"], Priority::Urgent)),
        );
        check(
            "Typo in README",
            "NONE",
            &[],
            Some((&["documentation"], Priority::Low)),
        );
        check(
            "Hello",
            "NONE",
            &[],
            Some((&["needs-triage"], Priority::Normal)),
        );
        check("It panics", "NONE", &["bug"], None);
        check("Typo", "MEMBER", &[], None);
        check(
            "Crash on start",
            "MEMBER",
            &[],
            Some((&["bug"], Priority::High)),
        );
        let first: &[&str] = &["documentation", "first-contribution"];
        check(
            "Fix docs",
            "FIRST_TIMER",
            &[],
            Some((first, Priority::Normal)),
        );
    }

    #[test]
    fn the_label_for_the_rest_is_configured() {
        let harness = Harness::new().config("LABEL", "look-at-me");
        check(
            "Hello",
            "NONE",
            &[],
            Some((&["look-at-me"], Priority::Normal)),
        );
        assert_eq!(harness.output(), "INFO #7: look-at-me (Normal)\n");
    }

    #[test]
    fn pull_requests_are_read_as_well() {
        let _harness = Harness::new();
        let mut payload = json!({
            "action": "opened",
            "pull_request": {
                "number": 9, "title": "Rework", "body": "", "author_association": "CONTRIBUTOR",
                "draft": false, "changed_files": 31,
            },
            "repository": { "full_name": "acme/app" },
        });
        let triage = run("com.github.pull_request", &payload).expect("no failure");
        assert_eq!(triage.expect("decided").labels, ["large"]);
        payload["pull_request"]["draft"] = json!(true);
        assert_eq!(run("com.github.pull_request", &payload), Ok(None));
    }

    #[test]
    fn what_can_not_be_read_is_rejected() {
        let _harness = Harness::new();
        let failure = run("com.github.issues", &json!({ "action": 1 })).expect_err("no payload");
        assert!(failure.message().contains("`action`"), "{failure:?}");
        let failure = run("com.github.push", &issue("x", "NONE", &[])).expect_err("no issue");
        assert!(matches!(failure, Failure::Reject { .. }));
        let mut closed = issue("crash", "NONE", &[]);
        closed["action"] = json!("closed");
        assert_eq!(run("com.github.issues", &closed), Ok(None));
    }
}
