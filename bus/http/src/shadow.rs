//! Shadow replays: what is asked for, and what they found.

use edgebus_api as api;

use super::App;
use super::call::{Answer, Call, raw};
use super::functions::would_write;
use super::manifest::digest;
use super::problem::Problem;
use super::wire::Encoded;
use super::{jobs, replays};
use edgebus_engine::bus::ShadowRequest;
use edgebus_model::{Difference, Name, Ran, ShadowReport, ShadowSpec, ShadowTime};

const JSON: [&str; 1] = ["application/json"];

/// The longest request, in bytes: a manifest, in which each line end takes two, and what else a replay has.
pub(super) fn body_bytes_max(manifest_bytes_max: usize) -> usize {
    2 * manifest_bytes_max + replays::BODY_BYTES_MAX
}

/// `POST /v1/replays/shadow`.
pub(super) async fn start(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let app = call.app.clone();
    let bytes_max = body_bytes_max(app.limits.manifest_bytes_max);
    let (bytes, _reservation) = call.body(&JSON, bytes_max).await?;
    let request = asked(jobs::read(&bytes)?)?;
    let job = app.bus.shadow(request).await?;
    Ok(jobs::accepted(&app, &job))
}

fn asked(body: api::ShadowRequest) -> Result<ShadowRequest, Problem> {
    let function = body.function.as_deref().map(Name::new).transpose();
    let function =
        function.map_err(|error| Problem::input_error("/function", error.to_string(), ""))?;
    if body.limit == Some(0) {
        return Err(Problem::input_error("/limit", "must be 1 or more", ""));
    }
    let component = body.component.as_deref();
    Ok(ShadowRequest {
        function,
        component: component
            .map(|text| digest("/component", text))
            .transpose()?,
        manifest: body.manifest,
        limit: body.limit,
        range: replays::asked(api::ReplayRequest {
            name: None,
            bus: body.bus,
            since: body.since,
            until: body.until,
            from: body.from,
            to: body.to,
            rules: body.rules,
            subscriptions: body.subscriptions,
            kind: body.kind,
            pattern: body.pattern,
            as_matched: true,
            rate: body.rate,
        })?,
    })
}

/// What a shadow replay runs, without what it found.
pub(super) fn shown(app: &App, spec: &ShadowSpec) -> api::Shadow {
    let (range, candidate) = (&spec.range, spec.candidate.as_ref());
    api::Shadow {
        function: spec.function.as_ref().map(ToString::to_string),
        component: candidate.map(|candidate| candidate.digest.to_string()),
        against: match candidate {
            Some(_) => api::ShadowReference::Deployed,
            None => api::ShadowReference::Then,
        },
        bus: app.bus.bus_name(range.bus),
        from: range.first.0,
        to: range.last.0,
        subscriptions: app.bus.subscription_names(&range.subscriptions),
        kind: range.kind.clone(),
        pattern: range.pattern.clone(),
        limit: spec.limit,
        report: None,
    }
}

/// What a shadow replay found.
pub(super) fn report(app: &App, spec: &ShadowSpec, found: &ShadowReport) -> api::ShadowReport {
    let counts = &found.counts;
    let compared = counts.same.saturating_add(counts.different);
    let ended = compared.saturating_add(counts.unrecorded);
    let mean = |time: ShadowTime, runs: u64| time.us_total.checked_div(runs).unwrap_or(0);
    api::ShadowReport {
        runs: counts.runs,
        same: counts.same,
        different: counts.different,
        outcome: counts.outcome,
        emitted: counts.emitted,
        state: counts.state,
        unrecorded: counts.unrecorded,
        failed: counts.failed,
        different_then: spec.candidate.as_ref().map(|_| counts.different_then),
        mean_us: mean(counts.time, ended),
        max_us: counts.time.us_max,
        reference_mean_us: mean(counts.reference_time, compared),
        reference_max_us: counts.reference_time.us_max,
        differences: found
            .differences
            .iter()
            .map(|own| difference(app, own))
            .collect(),
    }
}

fn difference(app: &App, own: &Difference) -> api::ShadowDifference {
    let differs = [
        (own.outcome, api::ShadowAspect::Outcome),
        (own.emitted, api::ShadowAspect::Emitted),
        (own.state, api::ShadowAspect::State),
    ];
    let differs = differs.into_iter().filter(|(differs, _)| *differs);
    api::ShadowDifference {
        delivery: own.key.to_string(),
        differs: differs.map(|(_, aspect)| aspect).collect(),
        reference: ran(app, &own.reference),
        shadow: ran(app, &own.shadow),
    }
}

fn ran(app: &App, own: &Ran) -> api::ShadowRun {
    let outcome = &own.outcome;
    let events = own.emitted.iter().map(|(bus, event)| api::ShadowEvent {
        bus: app.bus.bus_name(*bus),
        event: raw(&Encoded(event)),
    });
    let state = own.writes.iter();
    api::ShadowRun {
        outcome: api::Outcome::from(outcome.class()),
        message: (!outcome.is_success()).then(|| outcome.to_string()),
        duration_us: own.duration_us,
        emitted: u64::from(own.emitted_total),
        events: events.collect(),
        writes: own.writes_total.map(u64::from),
        state: state
            .map(|(key, value)| would_write(key, value.as_deref()))
            .collect(),
    }
}
