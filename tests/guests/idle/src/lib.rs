//! A function that does nothing with any event: what it costs is what calling a function costs.

#![forbid(unsafe_code)]

use edgebus_sdk::{Event, Failure, Raw, function};

#[function]
fn handle(_: Event<Raw>) -> Result<(), Failure> {
    Ok(())
}
