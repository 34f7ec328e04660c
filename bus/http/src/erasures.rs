//! Erasures. Each is a job, which `/v1/jobs` shows from then on.

use edgebus_api as api;

use super::call::{Answer, Call};
use super::problem::Problem;
use super::replays::border;
use super::{jobs, page};
use edgebus_engine::bus::EraseRequest;
use edgebus_model::rule::DEFAULT_BUS;
use edgebus_model::{EraseSpec, Event};

/// The longest request, in bytes: a pattern and a subject.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
const JSON: [&str; 1] = ["application/json"];

/// `POST /v1/erasures`.
pub(super) async fn start(call: Call) -> Answer {
    let query: api::ErasureQuery = call.query()?;
    let app = call.app.clone();
    let (bytes, _reservation) = call.body(&JSON, BODY_BYTES_MAX).await?;
    let request = asked(jobs::read(&bytes)?)?;
    if query.dry_run.unwrap_or(false) {
        let bus = request.bus.clone();
        let counted = app.bus.count_erasure(request).await?;
        let answer = api::ErasureCount {
            bus,
            from: counted.first.0,
            to: counted.last.0,
            looked: counted.looked,
            events: counted.events,
            dead_letters: counted.dead_letters,
            more: counted.more,
        };
        return page::held(&app, &answer);
    }
    let job = app.bus.erase(request).await?;
    Ok(jobs::accepted(&app, &job))
}

/// The request with its times and its pattern read.
fn asked(body: api::ErasureRequest) -> Result<EraseRequest, Problem> {
    let given = body.pattern.as_deref();
    let pattern = jobs::pattern_within(
        EraseSpec::PATTERN_BYTES_MAX,
        given,
        "erase by several requests",
    )?;
    if body.subject.as_ref().is_some_and(String::is_empty) {
        return Err(Problem::input_error(
            "/subject",
            "no event has an empty subject",
            "write the subject of the events, or leave it out and select them by `match`",
        ));
    }
    let longest = Event::ATTRIBUTE_BYTES_MAX;
    if body.subject.as_ref().is_some_and(|own| own.len() > longest) {
        return Err(Problem::input_error(
            "/subject",
            format!("no event has a subject of more than {longest} bytes"),
            "",
        ));
    }
    if body.subject.is_none() && pattern.is_none() {
        return Err(Problem::input_error(
            "",
            "nothing says which events",
            "write {\"subject\": \"customer-17\"}, or a pattern as `match`",
        ));
    }
    let rate = jobs::rate(body.rate)?;
    Ok(EraseRequest {
        bus: body.bus.unwrap_or_else(|| DEFAULT_BUS.to_owned()),
        from: border((body.from, "from"), (body.since.as_deref(), "since"))?,
        to: border((body.to, "to"), (body.until.as_deref(), "until"))?,
        subject: body.subject,
        pattern,
        rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_is_wrong_with_it() {
        let read = |json: &str| asked(jobs::read(json.as_bytes())?);
        assert!(read(r#"{"subject":"a"}"#).is_ok());
        assert!(read(r#"{"match":{"type":["t"]},"from":1}"#).is_ok());
        let bad = [
            ("{}", ""),
            (r#"{"match":null}"#, ""),
            (r#"{"subject":""}"#, "/subject"),
            (r#"{"subject":"a","match":{"data":1}}"#, "/match/data"),
            (r#"{"subject":"a","since":"now"}"#, "/since"),
            (
                r#"{"subject":"a","from":1,"since":"2026-11-21T06:30:16Z"}"#,
                "/from",
            ),
            (r#"{"subject":"a","rate":0}"#, "/rate"),
            (r#"{"subjects":["a"]}"#, ""),
        ];
        for (json, pointer) in bad {
            let errors = read(json).unwrap_err().errors;
            assert_eq!(errors[0].pointer, pointer, "{json}");
        }
        let long = "a".repeat(Event::ATTRIBUTE_BYTES_MAX + 1);
        assert!(read(&format!(r#"{{"subject":"{long}"}}"#)).is_err());
    }
}
