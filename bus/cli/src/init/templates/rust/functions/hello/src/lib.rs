//! Greets whoever an event names: takes `com.example.hello`, emits `com.example.greeting`.

use edgebus_sdk::{Emit, Event, Failure, config, function, log, state};
use serde::{Deserialize, Serialize};

/// The data of the event that comes in.
#[derive(Deserialize)]
struct Hello {
    name: String,
}

/// The data of the event that goes out.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Greeting {
    text: String,
}

#[function]
fn handle(event: Event<Hello>) -> Result<Emit, Failure> {
    let name = event.data.name;
    if name.is_empty() {
        // Trying again would not help, so the event becomes a dead letter at once.
        return Err(Failure::reject("there is nobody to greet: `name` is empty"));
    }
    let greeting = config::get("GREETING").unwrap_or_else(|| "Hello".to_owned());
    // State, the emitted event and the end of the delivery are one transaction.
    let times = state::increment(&format!("greeted/{name}"), 1);
    log::info!("greeting {times} for {name}");
    Emit::new("com.example.greeting").json(&Greeting {
        text: format!("{greeting}, {name}!"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};

    fn hello(name: &str) -> Event<Hello> {
        let name = name.to_owned();
        testing::event("com.example.hello", Hello { name })
    }

    #[test]
    fn it_greets_and_counts() {
        let harness = Harness::new().config("GREETING", "Good day");
        handle(hello("Ada")).expect("Ada can be greeted");
        let emitted = handle(hello("Ada")).expect("Ada can be greeted again");
        let greeting: Greeting = emitted.data_as().expect("the data is a greeting");
        assert_eq!(greeting.text, "Good day, Ada!");
        assert_eq!(harness.state("greeted/Ada"), Some(b"2".to_vec()));
    }

    #[test]
    fn nobody_is_not_greeted() {
        let _harness = Harness::new();
        let failure = handle(hello("")).expect_err("there is nobody");
        assert!(matches!(failure, Failure::Reject { .. }));
    }
}
