//! Deliveries and dead letters: pending ones and past ones, with each attempt.
//!
//! Lists show the last attempt without its output. With `output` they show all attempts in full, as for one
//! delivery.

use edgebus_api as api;
use serde::Serialize;
use serde::ser::Serializer;

use super::call::{Answer, Call, name, raw};
use super::page::{BYTES_MAX, Collected, Row};
use super::problem::{Cause, Problem};
use super::wire::{self, Encoded};
use super::{App, events, jobs, page, query, rules, target};
use edgebus_engine::bus::{
    DeliveryFilter, DeliveryPlace, DeliveryStage, DeliveryState, LetterFilter, place_of,
};
use edgebus_model::error::Kind;
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{Attempt, DeadLetter, Delivery, DeliveryKey, Event, Position, Timestamp};

/// What to do where a place of `last` is asked for beside one of a page.
const LAST_OR_PAGES: &str = "`last` gives the newest dead letters; older ones come with `before`";

/// `GET /v1/deliveries`: a page of one stage; with `position` those of one event, with `last` the newest ones,
/// with `before` those before them.
pub(super) async fn list(call: Call) -> Answer {
    let query: api::DeliveryQuery = call.query()?;
    let stage = query.stage.as_ref().map(stage_of).transpose()?;
    excluded(&query)?;
    let app = &call.app;
    let asked = query.filter;
    let filter = filter(&asked);
    let whole = query.output.unwrap_or(false);
    let (older, page) = match (query.position, asked.last) {
        (Some(position), _) => {
            let bus = name(query.bus.as_deref().unwrap_or(DEFAULT_BUS))?;
            let (bus, filter, limit) = (bus.as_str(), &filter, page::limit(asked.limit));
            let fetch = |after: Option<String>, rows| async move {
                app.bus
                    .deliveries_of(bus, Position(position), filter, after.as_deref(), rows)
                    .await
            };
            let row = |state: &DeliveryState| raw(&shown(app, state, whole));
            (None, page::collect(limit, asked.after, fetch, row).await?)
        }
        (None, Some(count)) => {
            let before = asked.before.as_deref();
            let (older, page) = newest(app, &filter, stage, before, (count, whole)).await?;
            (Some(older), page)
        }
        (None, None) => {
            let stage = stage.unwrap_or(DeliveryStage::Pending);
            let limit = page::limit(asked.limit);
            let page = of_stage(app, &filter, stage, asked.after, (limit, whole)).await?;
            (None, page)
        }
    };
    let page = api::DeliveryPage {
        deliveries: page.rows,
        next: page.next,
        older,
    };
    page::held(app, &page)
}

/// Refuses parameters that exclude each other.
fn excluded(query: &api::DeliveryQuery) -> Result<(), Problem> {
    let filter = &query.filter;
    let given = [
        ("last", filter.last.is_some()),
        ("before", filter.before.is_some()),
        ("stage", query.stage.is_some()),
        ("since", filter.since.is_some()),
        ("after", filter.after.is_some()),
        ("limit", filter.limit.is_some()),
        ("bus", query.bus.is_some()),
    ];
    let excluded: &[&str] = match (query.position, filter.last) {
        (Some(_), _) => &["last", "before", "stage", "since"],
        (None, Some(_)) => &["after", "limit", "bus"],
        (None, None) => &["bus", "before"],
    };
    let mut given = given.iter().filter(|(_, given)| *given);
    match given.find(|(name, _)| excluded.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Problem::input_error(
            "",
            format!("query parameter `{name}` does not go with the others"),
            "`position` and `bus` ask for the deliveries of one event in any stage, `last` for the newest ones, and `last` with `before` for older ones",
        )),
    }
}

/// `GET /v1/dead-letters`: a page, or with `last` the newest ones, with `before` those before them.
pub(super) async fn list_dead(call: Call) -> Answer {
    let asked: api::DeadLetterQuery = call.query()?;
    let app = &call.app;
    let filter = letters(app, &asked).await?;
    let whole = asked.whole.unwrap_or(false);
    let stage = DeliveryStage::Dead;
    let (older, page) = match asked.last {
        None => {
            page::no_before(asked.before.as_ref())?;
            let limit = page::limit(asked.limit);
            let page = of_stage(app, &filter, stage, asked.after, (limit, whole)).await?;
            (None, page)
        }
        Some(count) => {
            page::without_last(
                &[
                    ("after", asked.after.is_some()),
                    ("limit", asked.limit.is_some()),
                ],
                LAST_OR_PAGES,
            )?;
            let before = asked.before.as_deref();
            let (older, page) = newest(app, &filter, Some(stage), before, (count, whole)).await?;
            (Some(older), page)
        }
    };
    let page = api::DeadLetterPage {
        dead_letters: page.rows,
        next: page.next,
        older,
    };
    page::held(app, &page)
}

/// The dead letters that a query asks for.
async fn letters(app: &App, asked: &api::DeadLetterQuery) -> Result<DeliveryFilter, Problem> {
    if let Some(text) = asked.pattern.clone() {
        let parsed = move || rules::parsed(&text).map(drop);
        app.judging.run(parsed).await.map_err(Problem::denied)??;
    }
    let filter = LetterFilter {
        of: DeliveryFilter {
            subscription: asked.subscription.clone(),
            function: asked.function.clone(),
            rule: asked.rule.clone(),
            ..DeliveryFilter::default()
        },
        reason: asked.reason.as_ref().map(jobs::reason).transpose()?,
        since: query::moment(asked.since.as_deref()),
        until: query::moment(asked.until.as_deref()),
        kind: asked.kind.clone(),
        pattern: asked.pattern.clone(),
        ..LetterFilter::default()
    };
    Ok(app.bus.letters_of(&filter)?)
}

fn stage_of(stage: &api::Stage) -> Result<DeliveryStage, Problem> {
    match stage {
        api::Stage::Pending => Ok(DeliveryStage::Pending),
        api::Stage::Succeeded => Ok(DeliveryStage::Succeeded),
        api::Stage::Dead => Ok(DeliveryStage::Dead),
        api::Stage::Discarded => Ok(DeliveryStage::Discarded),
        api::Stage::Other(_) => Err(Problem::input_error("", "there is no such stage", "")),
    }
}

fn filter(asked: &api::DeliveryFilter) -> DeliveryFilter {
    DeliveryFilter {
        subscription: asked.subscription.clone(),
        function: asked.function.clone(),
        rule: asked.rule.clone(),
        since: query::moment(asked.since.as_deref()),
        replay: asked
            .replay
            .map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        ..DeliveryFilter::default()
    }
}

async fn of_stage(
    app: &App,
    filter: &DeliveryFilter,
    stage: DeliveryStage,
    after: Option<String>,
    (limit, whole): (usize, bool),
) -> Result<Collected, Problem> {
    let fetch = |after: Option<String>, rows| async move {
        app.bus
            .deliveries(filter, stage, after.as_deref(), rows)
            .await
    };
    let row = |state: &DeliveryState| raw(&shown(app, state, whole));
    page::collect(limit, after, fetch, row).await
}

/// The newest deliveries, or those before a place, oldest first; fewer than asked for where they weigh much.
/// Before them, where older ones are.
async fn newest(
    app: &App,
    filter: &DeliveryFilter,
    stage: Option<DeliveryStage>,
    before: Option<&str>,
    (count, whole): (u64, bool),
) -> Result<(Option<String>, Collected), Problem> {
    let before = before.map(place).transpose()?;
    let count = query::rows(count);
    let (states, mut more) = app
        .bus
        .last_deliveries(filter, stage, before, count)
        .await?;
    let (mut rows, mut bytes, mut oldest) = (Vec::<Row>::new(), 0, None);
    for state in states.iter().rev() {
        let row = raw(&shown(app, state, whole));
        bytes += row.get().len();
        if bytes > BYTES_MAX && !rows.is_empty() {
            more = true;
            break;
        }
        rows.push(row);
        oldest = Some(place_of(state));
    }
    rows.reverse();
    let older = oldest.filter(|_| more);
    let older = older.map(|(accepted_at, key)| format!("{}.{key}", accepted_at.0));
    Ok((older, Collected { rows, next: None }))
}

/// Reads what `older` told.
fn place(text: &str) -> Result<DeliveryPlace, Problem> {
    let read = text.split_once('.').and_then(|(accepted_at, key)| {
        Some((Timestamp(accepted_at.parse().ok()?), key.parse().ok()?))
    });
    read.ok_or_else(|| {
        Problem::input_error(
            "",
            "query parameter `before` must be what `older` of a page says",
            "leave it out to begin with the newest",
        )
    })
}

/// `GET /v1/deliveries/{id}`.
pub(super) async fn get(call: Call) -> Answer {
    let (app, state) = find(call).await?;
    page::held(&app, &shown(&app, &state, true))
}

/// `GET /v1/dead-letters/{id}`.
pub(super) async fn get_dead(call: Call) -> Answer {
    let (app, state) = find(call).await?;
    if !matches!(state, DeliveryState::Dead(_)) {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            "this delivery is no dead letter; see /v1/deliveries",
        ));
    }
    page::held(&app, &shown(&app, &state, true))
}

async fn find(call: Call) -> Result<(App, DeliveryState), Problem> {
    call.query::<api::NoQuery>()?;
    let key: DeliveryKey = call.path("id").parse().map_err(|()| {
        Problem::input_error(
            "",
            "a delivery's id is SUBSCRIPTION-POSITION, and -rREPLAY behind it for a replayed one",
            "",
        )
    })?;
    let state = call.app.bus.delivery(key).await?;
    Ok((call.app, state))
}

/// The event of a dead letter.
enum OfLetter<'e> {
    /// All of it.
    Whole(&'e Event),
    /// What names it.
    Key(&'e Event),
}

impl Serialize for OfLetter<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(event) => Encoded(event).serialize(serializer),
            Self::Key(event) => wire::key(event).serialize(serializer),
        }
    }
}

/// A delivery as the API shows it: with all its attempts where `whole` is, else with the last one.
fn shown<'s>(app: &App, state: &'s DeliveryState, whole: bool) -> api::Delivery<OfLetter<'s>> {
    match state {
        DeliveryState::Pending(delivery) => api::Delivery {
            due_at: delivery.due_at.map(|due_at| due_at.to_string()),
            ..of_delivery(app, delivery, api::Stage::Pending, whole)
        },
        DeliveryState::Succeeded(settled) => match settled.discarded {
            None => api::Delivery {
                settled_at: Some(settled.settled_at.to_string()),
                emitted: Some(u64::from(settled.emitted)),
                ..of_delivery(app, &settled.delivery, api::Stage::Succeeded, whole)
            },
            Some(discarded) => api::Delivery {
                settled_at: Some(settled.settled_at.to_string()),
                discarded: Some(api::DiscardReason::from(discarded.reason.word())),
                job: Some(u64::from(discarded.job.0)),
                ..of_delivery(app, &settled.delivery, api::Stage::Discarded, whole)
            },
        },
        DeliveryState::Dead(letter) => of_letter(app, letter, whole),
    }
}

/// A delivery as lists show it.
pub(super) fn row<'s>(app: &App, state: &'s DeliveryState) -> impl Serialize + use<'s> {
    shown(app, state, false)
}

fn of_letter<'s>(app: &App, letter: &'s DeadLetter, whole: bool) -> api::Delivery<OfLetter<'s>> {
    api::Delivery {
        reason: Some(api::DeadReason::from(letter.reason.word())),
        reason_code: Some(letter.reason.code().as_str().to_owned()),
        died_at: Some(letter.died_at.to_string()),
        deaths: Some(u64::from(letter.deaths())),
        erased: events::erased(&letter.event),
        event: Some(match whole {
            true => OfLetter::Whole(&letter.event),
            false => OfLetter::Key(&letter.event),
        }),
        ..of_delivery(app, &letter.delivery, api::Stage::Dead, whole)
    }
}

fn of_delivery<'s>(
    app: &App,
    delivery: &Delivery,
    stage: api::Stage,
    whole: bool,
) -> api::Delivery<OfLetter<'s>> {
    let key = delivery.key;
    let (attempts, last_attempt) = match whole {
        true => {
            let all = delivery.attempts.iter();
            (Some(all.map(|own| attempt(own, true)).collect()), None)
        }
        false => (
            None,
            delivery.attempts.last().map(|own| attempt(own, false)),
        ),
    };
    let subscription = app.bus.subscription(key.subscription);
    let (subscription, bus) = subscription.unzip();
    let own = subscription.as_ref();
    api::Delivery {
        id: key.to_string(),
        stage,
        bus: bus.map(|bus| bus.to_string()),
        // One that left the manifest and has nothing pending any more: its number is all that is left.
        subscription: own.map_or_else(
            || key.subscription.0.to_string(),
            |own| own.name().to_string(),
        ),
        rule: own.map(|own| own.rule.to_string()),
        target: own.map_or_else(Default::default, |own| target::named(&own.target.to)),
        position: key.position.0,
        replay: Some(u64::from(key.replay)).filter(|replay| *replay > 0),
        accepted_at: delivery.accepted_at.to_string(),
        attempts_made: u64::from(delivery.attempts_made),
        host_failures: Some(u64::from(delivery.host_failures)).filter(|count| *count > 0),
        deaths: delivery.redriven.map(|again| u64::from(again.deaths)),
        redriven_at: delivery.redriven.map(|again| again.at.to_string()),
        died_of: delivery
            .redriven
            .map(|again| api::DeadReason::from(again.reason.word())),
        discarded: None,
        job: delivery.pending().job().map(|job| u64::from(job.0)),
        attempts,
        last_attempt,
        due_at: None,
        settled_at: None,
        emitted: None,
        reason: None,
        reason_code: None,
        died_at: None,
        erased: None,
        event: None,
    }
}

fn attempt(attempt: &Attempt, whole: bool) -> api::Attempt {
    let outcome = &attempt.outcome;
    api::Attempt {
        number: u64::from(attempt.number),
        started_at: attempt.started_at.to_string(),
        duration_us: attempt.duration_us,
        outcome: api::Outcome::from(outcome.class()),
        code: outcome.code().map(|code| code.as_str().to_owned()),
        message: (!outcome.is_success()).then(|| outcome.to_string()),
        output: whole.then(|| attempt.output.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_model::{DeadReason, Outcome};

    #[test]
    fn the_words_of_the_api_are_those_of_the_model() {
        assert_eq!(api::Outcome::WORDS, Outcome::CLASSES);
        assert_eq!(
            api::DeadReason::WORDS,
            DeadReason::ALL.map(DeadReason::word)
        );
    }
}
