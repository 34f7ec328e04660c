//! Jobs: listing, finding and telling them; and the redrive and purge of dead letters, which are jobs.

use axum::response::Response;
use edgebus_api as api;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use serde_json::value::RawValue;

use super::call::{Answer, Call, json, object, raw};
use super::problem::Problem;
use super::{App, deliveries, page, query, rules, shadow};
use edgebus_engine::bus::{DeliveryFilter, LetterFilter, LetterJob};
use edgebus_model::{
    DeadReason, DeliveryKey, EraseSpec, Job, JobControl, JobId, JobSpec, JobState, LetterSelection,
    ReplaySpec, SkipSpec, Skipped,
};

/// The longest body of a request here, in bytes: a pattern, or the ids of 1,000 dead letters.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// Dead letters that a dry run shows.
const SHOWN: usize = 10;
const JSON: [&str; 1] = ["application/json"];

/// `GET /v1/jobs`.
pub(super) async fn list(call: Call) -> Answer {
    let query: api::JobQuery = call.query()?;
    let app = &call.app;
    let fetch =
        |after: Option<String>, rows| async move { app.bus.jobs(after.as_deref(), rows).await };
    let row = |job: &Job| raw(&shown(app, job));
    let page = page::collect(page::limit(query.limit), query.after, fetch, row).await?;
    let page = api::JobPage {
        jobs: page.rows,
        next: page.next,
    };
    page::held(app, &page)
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let (id, app) = (id(&call)?, &call.app);
    let job = app.bus.job(id).await?;
    let mut answer = shown(app, &job);
    if let (JobSpec::Shadow(spec), Some(own)) = (&job.spec, &mut answer.shadow) {
        let found = app.bus.shadow_report(id).await?;
        own.report = Some(shadow::report(app, spec, &found));
        return page::held(app, &answer);
    }
    Ok(json(&answer))
}

/// `PATCH /v1/jobs/{id}`.
pub(super) async fn change(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let (id, app) = (id(&call)?, call.app.clone());
    let (bytes, _reservation) = call.body(&JSON, BODY_BYTES_MAX).await?;
    let change: api::JobChange = read(&bytes)?;
    let mut controls = controls(&change)?;
    if change.discard_pending {
        let job = app.bus.discardable(id).await?;
        // One that has ended needs not be told to.
        controls.retain(|control| !(job.state.has_ended() && *control == JobControl::Cancel));
    }
    for control in controls {
        app.bus.control_job(id, control).await?;
    }
    let discard = match change.discard_pending {
        true => Some(app.bus.discard_pending(id).await?),
        false => None,
    };
    let job = app.bus.job(id).await?;
    Ok(json(&api::Job {
        discard_job: discard.map(|job| u64::from(job.id.0)),
        ..shown(&app, &job)
    }))
}

/// What a change says, the rate first: a job that is resumed begins with it.
fn controls(change: &api::JobChange) -> Result<Vec<JobControl>, Problem> {
    let mut controls = Vec::new();
    if let Some(rate) = change.rate {
        controls.push(JobControl::Rate(rate_from(0, rate)?));
    }
    if let Some(state) = &change.state {
        controls.push(match state {
            api::JobState::Running => JobControl::Resume,
            api::JobState::Paused => JobControl::Pause,
            api::JobState::Cancelled => JobControl::Cancel,
            _ => {
                return Err(Problem::input_error(
                    "/state",
                    "a job is told `running`, `paused` or `cancelled`",
                    "",
                ));
            }
        });
    }
    if change.discard_pending && change.state != Some(api::JobState::Cancelled) {
        return Err(Problem::input_error(
            "/discard_pending",
            "goes with the state `cancelled` alone",
            "write {\"state\": \"cancelled\", \"discard_pending\": true}",
        ));
    }
    if controls.is_empty() {
        return Err(Problem::input_error(
            "",
            "nothing is told",
            "write {\"state\": \"paused\"}, or {\"rate\": 100}",
        ));
    }
    Ok(controls)
}

/// A rate as jobs have it; 0 is none, where that is allowed.
fn rate_from(least: u64, rate: u64) -> Result<Option<u32>, Problem> {
    if !(least..=api::RATE_MAX).contains(&rate) {
        let reason = format!("must be a whole number from {least} to {}", api::RATE_MAX);
        return Err(Problem::input_error("/rate", reason, ""));
    }
    Ok(u32::try_from(rate).ok().filter(|rate| *rate > 0))
}

/// The rate that a request gives the job which it begins, if it gives one.
pub(super) fn rate(given: Option<u64>) -> Result<Option<u32>, Problem> {
    given.map_or(Ok(None), |rate| rate_from(1, rate))
}

fn id(call: &Call) -> Result<JobId, Problem> {
    call.path("id")
        .parse()
        .map_err(|()| Problem::input_error("", "a job's id is a whole number from 1 on", ""))
}

/// Reads a body.
pub(super) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    object(bytes)
        .map_err(|error| Problem::input_error("", format!("the body can't be read: {error}"), ""))
}

/// The answer to a request that made a job.
pub(super) fn accepted(app: &App, job: &Job) -> Response {
    let mut response = json(&shown(app, job));
    *response.status_mut() = StatusCode::ACCEPTED;
    if let Ok(path) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// The pattern of a request, if it has one that can be read.
pub(super) fn pattern(given: Option<&RawValue>) -> Result<Option<String>, Problem> {
    match given.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(text) => {
            rules::parsed(text)?;
            Ok(Some(text.to_owned()))
        }
    }
}

/// The same, if it is no longer than that; else `instead` says what to do.
pub(super) fn pattern_within(
    bytes_max: usize,
    given: Option<&RawValue>,
    instead: &str,
) -> Result<Option<String>, Problem> {
    if given.is_some_and(|own| own.get().len() > bytes_max) {
        let reason = format!("the pattern is longer than {bytes_max} bytes");
        return Err(Problem::input_error("/match", reason, instead));
    }
    pattern(given)
}

/// `POST /v1/dead-letters/redrive`.
pub(super) async fn redrive(call: Call) -> Answer {
    letters(call, LetterJob::Redrive).await
}

/// `POST /v1/dead-letters/purge`.
pub(super) async fn purge(call: Call) -> Answer {
    letters(call, LetterJob::Purge).await
}

async fn letters(call: Call, what: LetterJob) -> Answer {
    let query: api::LetterQuery = call.query()?;
    let app = call.app.clone();
    let (bytes, _reservation) = call.body(&JSON, BODY_BYTES_MAX).await?;
    let asked: api::LetterSelection = read(&bytes)?;
    let filter = selection(&asked)?;
    let rate = rate(asked.rate)?;
    if query.dry_run.unwrap_or(false) {
        let preview = app.bus.preview_letters(what, &filter, SHOWN).await?;
        let rows = preview.sample.iter();
        let answer = api::LetterPreview {
            selected: preview.selected,
            looked: preview.looked,
            skipped: preview.skipped.total(),
            skips: skips(&preview.skipped),
            whole: preview.whole,
            dead_letters: rows.map(|row| deliveries::row(&app, row)).collect(),
        };
        return page::held(&app, &answer);
    }
    let job = app.bus.start_letter_job(what, &filter, rate).await?;
    Ok(accepted(&app, &job))
}

/// Which dead letters a request selects.
fn selection(asked: &api::LetterSelection) -> Result<LetterFilter, Problem> {
    let mut keys = Vec::with_capacity(asked.ids.len());
    for (at, text) in asked.ids.iter().enumerate() {
        let key: DeliveryKey = text.parse().map_err(|()| {
            let pointer = format!("/ids/{at}");
            Problem::input_error(pointer.as_str(), "is no dead letter's id, as in 3-13", "")
        })?;
        keys.push(key);
    }
    if keys.len() > LetterSelection::KEYS_MAX {
        let reason = format!("more than {} are named", LetterSelection::KEYS_MAX);
        return Err(Problem::input_error(
            "/ids",
            reason,
            "select them by subscription, reason, time, type or match",
        ));
    }
    if asked.limit == Some(0) {
        return Err(Problem::input_error("/limit", "must be 1 or more", ""));
    }
    let narrowed = !keys.is_empty()
        || asked.subscription.is_some()
        || asked.function.is_some()
        || asked.rule.is_some()
        || asked.reason.is_some()
        || asked.since.is_some()
        || asked.until.is_some()
        || asked.kind.is_some()
        || asked.pattern.is_some()
        || asked.limit.is_some();
    if !narrowed && asked.all != Some(true) {
        return Err(Problem::input_error(
            "",
            "nothing says which dead letters",
            "write {\"all\": true} for all of them",
        ));
    }
    Ok(LetterFilter {
        keys,
        of: DeliveryFilter {
            subscription: asked.subscription.clone(),
            function: asked.function.clone(),
            rule: asked.rule.clone(),
            ..DeliveryFilter::default()
        },
        reason: asked.reason.as_ref().map(reason).transpose()?,
        since: moment("/since", asked.since.as_deref())?,
        until: moment("/until", asked.until.as_deref())?,
        kind: asked.kind.clone(),
        pattern: pattern(asked.pattern.as_deref())?,
        limit: asked.limit,
    })
}

/// The reason that a word says.
pub(super) fn reason(word: &api::DeadReason) -> Result<DeadReason, Problem> {
    let mut all = DeadReason::ALL.into_iter();
    all.find(|own| own.word() == word.as_str()).ok_or_else(|| {
        let words = DeadReason::ALL.map(DeadReason::word).join(", ");
        Problem::input_error("/reason", format!("there are {words}"), "")
    })
}

fn moment(pointer: &str, text: Option<&str>) -> Result<Option<edgebus_model::Timestamp>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    match query::moment(Some(text)) {
        Some(moment) => Ok(Some(moment)),
        None => Err(Problem::input_error(
            pointer,
            "must be a time in RFC 3339, from 1970 on",
            "write it as in 2026-11-21T06:30:16Z",
        )),
    }
}

/// A job as the API shows it.
pub(super) fn shown(app: &App, job: &Job) -> api::Job {
    let progress = &job.progress;
    let results = api::JobResults {
        succeeded: job.results.succeeded,
        waiting: progress.done.saturating_sub(job.results.ended()),
        died: job.results.died,
        discarded: job.results.discarded,
        uncounted: job.results.uncounted,
    };
    let makes_pending = matches!(job.spec, JobSpec::Redrive(_) | JobSpec::Replay(_));
    api::Job {
        id: u64::from(job.id.0),
        kind: api::JobKind::from(job.spec.word()),
        state: api::JobState::from(job.state.word()),
        failure: match &job.state {
            JobState::Failed { reason } => Some(reason.clone()),
            _ => None,
        },
        selection: match &job.spec {
            JobSpec::Redrive(selection) | JobSpec::Purge(selection) => {
                Some(selected(app, selection))
            }
            JobSpec::Replay(_) | JobSpec::Skip(_) | JobSpec::Erase(_) | JobSpec::Shadow(_) => None,
        },
        replay: match &job.spec {
            JobSpec::Replay(spec) => Some(replayed(app, job, spec)),
            _ => None,
        },
        skip: match &job.spec {
            JobSpec::Skip(spec) => Some(skipped(app, *spec)),
            _ => None,
        },
        erasure: match &job.spec {
            JobSpec::Erase(spec) => Some(erased(app, job, spec)),
            _ => None,
        },
        shadow: match &job.spec {
            JobSpec::Shadow(spec) => Some(shadow::shown(app, spec)),
            _ => None,
        },
        rate: job.rate.map(u64::from),
        looked: progress.looked,
        of: progress.of,
        done: progress.done,
        skipped: progress.skipped.total(),
        skips: skips(&progress.skipped),
        results: makes_pending.then_some(results),
        discard_job: None,
        created_at: job.created_at.to_string(),
        changed_at: job.changed_at.to_string(),
    }
}

/// What was passed over, or would be, by reason.
pub(super) fn skips(skipped: &Skipped) -> Vec<api::Skip> {
    skipped
        .iter()
        .map(|(reason, count)| api::Skip {
            reason: api::SkipReason::from(reason.word()),
            count,
        })
        .collect()
}

fn skipped(app: &App, spec: SkipSpec) -> api::SkippedRange {
    match spec {
        SkipSpec::Live {
            subscription,
            before,
        } => api::SkippedRange {
            subscription: Some(app.bus.subscription_names(&[subscription]).concat()),
            before: Some(before.0),
            replay: None,
        },
        SkipSpec::Replay(replay) => api::SkippedRange {
            subscription: None,
            before: None,
            replay: Some(u64::from(replay.0)),
        },
    }
}

fn replayed(app: &App, job: &Job, spec: &ReplaySpec) -> api::ReplayedRange {
    api::ReplayedRange {
        name: spec.name(job.id.0),
        purpose: api::ReplayPurpose::from(spec.purpose.word()),
        bus: app.bus.bus_name(spec.bus),
        from: spec.first.0,
        to: Some(spec.last.0).filter(|last| *last < u64::MAX),
        subscriptions: app.bus.subscription_names(&spec.subscriptions),
        kind: spec.kind.clone(),
        pattern: spec.pattern.clone(),
        as_matched: spec.as_matched,
    }
}

fn erased(app: &App, job: &Job, spec: &EraseSpec) -> api::ErasedRange {
    let counts = &job.progress.erased;
    api::ErasedRange {
        bus: app.bus.bus_name(spec.bus),
        from: spec.first.0,
        to: spec.last.0,
        subject: spec.subject.clone(),
        pattern: spec.pattern.clone(),
        events: counts.events,
        dead_letters: counts.dead_letters,
        attempts: counts.attempts,
        deliveries: counts.deliveries,
    }
}

fn selected(app: &App, selection: &LetterSelection) -> api::SelectedLetters {
    api::SelectedLetters {
        ids: selection.keys.iter().map(ToString::to_string).collect(),
        subscriptions: app.bus.subscription_names(&selection.subscriptions),
        reason: selection
            .reason
            .map(|reason| api::DeadReason::from(reason.word())),
        since: selection.since.map(|since| since.to_string()),
        until: selection.until.map(|until| until.to_string()),
        kind: selection.kind.clone(),
        pattern: selection.pattern.clone(),
        limit: selection.limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{
        BusId, DiscardReason, Position, ReplayPurpose, ShadowSpec, SkipReason, SubscriptionId,
    };

    #[test]
    fn the_words_of_the_api_are_those_of_the_model() {
        assert_eq!(
            api::SkipReason::WORDS,
            SkipReason::ALL.map(SkipReason::word)
        );
        assert_eq!(
            api::DiscardReason::WORDS,
            DiscardReason::ALL.map(DiscardReason::word)
        );
        let all = LetterSelection::default();
        let replay = ReplaySpec {
            name: None,
            purpose: ReplayPurpose::Replay,
            bus: BusId(1),
            first: Position(1),
            last: Position(1),
            subscriptions: Vec::new(),
            kind: None,
            pattern: None,
            as_matched: false,
        };
        let skip = SkipSpec::Live {
            subscription: SubscriptionId(1),
            before: Position(1),
        };
        let erase = EraseSpec {
            bus: BusId(1),
            first: Position(1),
            last: Position(1),
            subject: None,
            pattern: None,
        };
        let shadow = ShadowSpec {
            range: replay.clone(),
            function: None,
            candidate: None,
            limit: None,
        };
        let specs = [
            JobSpec::Redrive(all.clone()),
            JobSpec::Purge(all),
            JobSpec::Replay(replay),
            JobSpec::Skip(skip),
            JobSpec::Erase(erase),
            JobSpec::Shadow(Box::new(shadow)),
        ];
        assert_eq!(api::JobKind::WORDS, specs.map(|spec| spec.word()));
        let failed = JobState::Failed {
            reason: String::new(),
        };
        let states = [
            JobState::Running,
            JobState::Paused,
            JobState::Done,
            JobState::Cancelled,
            failed,
        ];
        let purposes = [
            ReplayPurpose::Replay,
            ReplayPurpose::Seek,
            ReplayPurpose::Start,
        ];
        assert_eq!(api::ReplayPurpose::WORDS, purposes.map(ReplayPurpose::word));
        assert_eq!(api::JobState::WORDS, states.map(|state| state.word()));
    }

    #[test]
    fn a_selection_says_what_is_wrong_with_it() {
        let reasons = |json: &str| {
            let asked: api::LetterSelection = read(json.as_bytes())?;
            selection(&asked)
        };
        assert!(reasons(r#"{"all":true}"#).is_ok());
        assert!(reasons(r#"{"ids":["3-13"],"match":null}"#).is_ok());
        let bad = [
            ("{}", ""),
            (r#"{"all":false}"#, ""),
            (r#"{"ids":["3-13","x"]}"#, "/ids/1"),
            (r#"{"limit":0}"#, "/limit"),
            (r#"{"reason":"tired"}"#, "/reason"),
            (r#"{"since":"now"}"#, "/since"),
            (r#"{"match":{"data":1}}"#, "/match/data"),
            (r#"{"x":1}"#, ""),
        ];
        for (json, pointer) in bad {
            let errors = reasons(json).unwrap_err().errors;
            assert_eq!(errors[0].pointer, pointer, "{json}");
        }
    }
}
