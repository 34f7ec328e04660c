//! Counts the events of each rule in its state, and logs the counts on request. Tests use it to check that no
//! event is missing or counted twice.

#![forbid(unsafe_code)]

use edgebus_sdk::{Context, Event, Failure, Raw, function, log, state};

#[function]
fn handle(event: Event<Raw>, context: Context) -> Result<(), Failure> {
    if event.kind == "tally.show" {
        for key in state::list_keys("rule/", None, 1_000) {
            let count = state::get(&key).unwrap_or_default();
            log::info!("{key} {}", String::from_utf8_lossy(&count));
        }
        return Ok(());
    }
    state::increment(&format!("rule/{}", context.rule), 1);
    Ok(())
}
