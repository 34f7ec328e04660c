//! Asks for maintenance when one sensor has raised too many alarms.
//!
//! Takes `com.example.alarm.raised`, emits `com.example.maintenance.wanted`.
//!
//! Config: `ALARMS` is how many alarms of one sensor are too many (3 if it is not set).

use edgebus_sdk::{Emit, Event, Failure, config, function, log, state};
use serde::{Deserialize, Serialize};

/// The part of an alarm that this function reads.
#[derive(Deserialize)]
struct Alarm {
    sensor: String,
}

/// The data of a request for maintenance.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Maintenance {
    sensor: String,
    alarms: i64,
}

#[function]
fn handle(event: Event<Alarm>) -> Result<Option<Emit>, Failure> {
    let sensor = event.data.sensor;
    let most = config::get_or("ALARMS", 3)?;
    let key = format!("alarms/{sensor}");
    let alarms = state::increment(&key, 1);
    log::info!("{sensor}: alarm {alarms} of {most}");
    if alarms < most {
        return Ok(None);
    }
    // Counting starts again after each call for maintenance.
    state::delete(&key);
    let subject = sensor.clone();
    let wanted = Emit::new("com.example.maintenance.wanted").subject(subject);
    Ok(Some(wanted.json(&Maintenance { sensor, alarms })?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};

    fn alarm(sensor: &str) -> Result<Option<Emit>, Failure> {
        let sensor = sensor.to_owned();
        handle(testing::event("com.example.alarm.raised", Alarm { sensor }))
    }

    #[test]
    fn each_sensor_is_counted_separately() {
        let harness = Harness::new().config("ALARMS", "2");
        assert_eq!(alarm("kiln"), Ok(None));
        assert_eq!(alarm("oven"), Ok(None));
        let wanted = alarm("kiln")
            .expect("it is counted")
            .expect("two are too many");
        let expected = Maintenance {
            sensor: "kiln".to_owned(),
            alarms: 2,
        };
        assert_eq!(wanted.data_as::<Maintenance>().ok(), Some(expected));
        assert_eq!(harness.state("alarms/kiln"), None);
        assert_eq!(harness.state("alarms/oven"), Some(b"1".to_vec()));
    }
}
