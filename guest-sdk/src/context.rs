//! What a function may know about its delivery.

/// What a function may know about the delivery that it handles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// The delivery's id, as the bus's API shows it.
    pub delivery: String,
    /// The same for all attempts of one delivery, and impossible to guess. Pass it on to other services.
    pub idempotency_key: String,
    /// The number of this attempt, counted from 1.
    pub attempt: u32,
    /// The function's name.
    pub function: String,
    /// The rule that matched.
    pub rule: String,
    /// The bus that the event is on.
    pub bus: String,
    /// The event's position in that bus's log.
    pub position: u64,
    /// When the bus accepted the event, in milliseconds since 1970.
    pub accepted_at_ms: u64,
}

impl Default for Context {
    /// A first attempt, for tests.
    fn default() -> Self {
        Self {
            delivery: "1-1".to_owned(),
            idempotency_key: "0000".to_owned(),
            attempt: 1,
            function: "function".to_owned(),
            rule: "rule".to_owned(),
            bus: "default".to_owned(),
            position: 1,
            accepted_at_ms: 0,
        }
    }
}
