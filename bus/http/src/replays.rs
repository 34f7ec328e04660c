//! Replays and seeks. Each makes a job, which `/v1/jobs` shows from then on.

use edgebus_api as api;

use super::call::{Answer, Call, json};
use super::jobs;
use super::problem::Problem;
use super::{page, query};
use edgebus_engine::bus::{Border, ReplayRequest, SeekTo};
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{JobId, Name, Position, ReplaySpec};

/// The longest request, in bytes: a pattern and a thousand names.
pub(super) const BODY_BYTES_MAX: usize = 256 << 10;
const JSON: [&str; 1] = ["application/json"];

/// `POST /v1/replays`.
pub(super) async fn start(call: Call) -> Answer {
    let query: api::ReplayQuery = call.query()?;
    let app = call.app.clone();
    let (bytes, _reservation) = call.body(&JSON, BODY_BYTES_MAX).await?;
    let request = asked(jobs::read(&bytes)?)?;
    if query.dry_run.unwrap_or(false) {
        let bus = request.bus.clone();
        let counted = app.bus.count_replay(request).await?;
        let by_name = counted.deliveries.iter();
        let answer = api::ReplayCount {
            bus,
            from: counted.first.0,
            to: counted.last.0,
            events: counted.events,
            deliveries: counted.deliveries.values().sum(),
            subscriptions: by_name
                .map(|(subscription, deliveries)| api::ReplayCountOf {
                    subscription: subscription.clone(),
                    deliveries: *deliveries,
                })
                .collect(),
            skipped: counted.skipped.total(),
            skips: jobs::skips(&counted.skipped),
            more: counted.more,
        };
        return page::held(&app, &answer);
    }
    let job = app.bus.replay(request).await?;
    Ok(jobs::accepted(&app, &job))
}

/// The request with its names, times and pattern read.
pub(super) fn asked(body: api::ReplayRequest) -> Result<ReplayRequest, Problem> {
    for (list, pointer) in [
        (&body.rules, "/rules"),
        (&body.subscriptions, "/subscriptions"),
    ] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            return Err(Problem::input_error(
                pointer,
                "an empty list names nobody",
                "leave it out for all, or name one",
            ));
        }
    }
    let name = body.name.as_deref().map(Name::new).transpose();
    let name = name.map_err(|error| Problem::input_error("/name", error.to_string(), ""))?;
    let rate = jobs::rate(body.rate)?;
    let given = body.pattern.as_deref();
    let pattern = jobs::pattern_within(
        ReplaySpec::PATTERN_BYTES_MAX,
        given,
        "narrow the replay by rule or subscription instead",
    )?;
    Ok(ReplayRequest {
        name,
        bus: body.bus.unwrap_or_else(|| DEFAULT_BUS.to_owned()),
        from: border((body.from, "from"), (body.since.as_deref(), "since"))?,
        to: border((body.to, "to"), (body.until.as_deref(), "until"))?,
        rules: body.rules.unwrap_or_default(),
        subscriptions: body.subscriptions.unwrap_or_default(),
        kind: body.kind,
        pattern,
        as_matched: body.as_matched,
        rate,
    })
}

/// A border of a range, which has one of two forms.
pub(super) fn border(
    (position, as_position): (Option<u64>, &str),
    (time, as_time): (Option<&str>, &str),
) -> Result<Option<Border>, Problem> {
    match (position, time) {
        (Some(_), Some(_)) => Err(Problem::input_error(
            format!("/{as_position}"),
            format!("`{as_position}` does not go with `{as_time}`"),
            "give one of the two",
        )),
        (Some(position), None) => Ok(Some(Border::Position(Position(position)))),
        (None, Some(time)) => Ok(Some(Border::Time(moment(time, as_time)?))),
        (None, None) => Ok(None),
    }
}

fn moment(text: &str, member: &str) -> Result<edgebus_model::Timestamp, Problem> {
    query::moment(Some(text)).ok_or_else(|| {
        Problem::input_error(
            format!("/{member}"),
            format!("`{member}` is no time"),
            "write it in RFC 3339, as in 2026-11-21T06:30:16Z",
        )
    })
}

/// `POST /v1/subscriptions/{name}/seek`.
pub(super) async fn seek(call: Call) -> Answer {
    let query: api::ReplayQuery = call.query()?;
    let app = call.app.clone();
    let name = call.path("name").to_owned();
    let (bytes, _reservation) = call.body(&JSON, BODY_BYTES_MAX).await?;
    let body: api::SeekRequest = jobs::read(&bytes)?;
    let to = place(&body)?;
    if query.dry_run.unwrap_or(false) {
        let counted = app.bus.count_seek(&name, to).await?;
        return page::held(
            &app,
            &api::Seek {
                subscription: counted.subscription.name().to_string(),
                position: counted.position.0,
                skipped: Some(counted.skipped),
                replayed: Some(counted.replayed),
                more: Some(counted.more),
                skip: None,
                replay: None,
                earlier_replays: numbers(&counted.earlier),
            },
        );
    }
    let done = app.bus.seek(&name, to).await?;
    let shown = |job: &edgebus_model::Job| jobs::shown(&app, job);
    Ok(json(&api::Seek {
        subscription: done.subscription.name().to_string(),
        position: done.position.0,
        skipped: None,
        replayed: None,
        more: None,
        skip: done.skip.as_ref().map(shown),
        replay: done.replay.as_ref().map(shown),
        earlier_replays: numbers(&done.earlier),
    }))
}

fn numbers(jobs: &[JobId]) -> Vec<u64> {
    jobs.iter().map(|id| u64::from(id.0)).collect()
}

fn place(body: &api::SeekRequest) -> Result<SeekTo, Problem> {
    let given = [
        body.to.is_some(),
        body.to_position.is_some(),
        body.to_start,
        body.to_end,
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(Problem::input_error(
            "",
            "a seek goes to one place",
            "give one of `to` (a time), `to_position`, `to_start` and `to_end`",
        ));
    }
    Ok(match (&body.to, body.to_position) {
        (Some(time), _) => SeekTo::At(Border::Time(moment(time, "to")?)),
        (None, Some(position)) => SeekTo::At(Border::Position(Position(position))),
        (None, None) if body.to_start => SeekTo::Start,
        (None, None) => SeekTo::End,
    })
}
