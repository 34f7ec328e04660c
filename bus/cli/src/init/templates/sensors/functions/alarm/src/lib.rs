//! Raises an alarm when a sensor gets too hot, and clears it when it has cooled down.
//!
//! Takes `com.example.reading`, emits `com.example.alarm.raised` and `com.example.alarm.cleared`: one of
//! each for a hot spell, however many readings it has.
//!
//! Config: `LIMIT` is the temperature above which it is too hot, in °C (30 if it is not set);
//! `COOLED` is how far below it the sensor has cooled down (2).

use edgebus_sdk::{Emit, Event, Failure, config, function, log, state};
use serde::{Deserialize, Serialize};

/// A reading of a sensor.
#[derive(Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

/// The data of an alarm.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Alarm {
    sensor: String,
    celsius: f64,
    limit: f64,
}

#[function]
fn handle(event: Event<Reading>) -> Result<Option<Emit>, Failure> {
    let Reading { sensor, celsius } = event.data;
    let limit = config::get_or("LIMIT", 30.0)?;
    let cooled = config::get_or("COOLED", 2.0)?;
    let key = format!("raised/{sensor}");
    let raised = state::get(&key).is_some();
    let kind = if !raised && celsius > limit {
        state::set(&key, b"yes");
        "com.example.alarm.raised"
    } else if raised && celsius < limit - cooled {
        state::delete(&key);
        "com.example.alarm.cleared"
    } else {
        log::debug!("{sensor}: {celsius} °C changes nothing");
        return Ok(None);
    };
    log::info!("{sensor}: {celsius} °C, limit {limit} °C");
    let subject = sensor.clone();
    let alarm = Alarm {
        sensor,
        celsius,
        limit,
    };
    Ok(Some(Emit::new(kind).subject(subject).json(&alarm)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};

    /// The last word of what each reading emits, or `-`.
    fn check(readings: &[f64], expected: &[&str]) {
        let _harness = Harness::new().config("LIMIT", "30").config("COOLED", "2");
        let mut seen = Vec::new();
        for celsius in readings {
            let sensor = "kiln".to_owned();
            let event = testing::event(
                "com.example.reading",
                Reading {
                    sensor,
                    celsius: *celsius,
                },
            );
            let emitted = handle(event).expect("a reading is never refused");
            seen.push(emitted.map_or("-".to_owned(), |emit| {
                emit.kind.rsplit('.').next().unwrap_or_default().to_owned()
            }));
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_alarm_is_raised_once_and_cleared_once() {
        check(&[20.0, 30.0], &["-", "-"]);
        check(&[31.0, 35.0, 29.0], &["raised", "-", "-"]);
        check(
            &[31.0, 27.9, 27.0, 31.0],
            &["raised", "cleared", "-", "raised"],
        );
    }

    #[test]
    fn a_limit_that_is_no_number_is_tried_again() {
        let _harness = Harness::new().config("LIMIT", "warm");
        let sensor = "kiln".to_owned();
        let reading = Reading {
            sensor,
            celsius: 31.0,
        };
        let failure = handle(testing::event("com.example.reading", reading));
        assert!(matches!(failure, Err(Failure::Retry { .. })));
    }
}
