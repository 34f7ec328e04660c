//! All limits of the HTTP server, as plain data with defaults.

use std::time::Duration;

use edgebus_model::limits::{BATCH_BYTES_MAX, COMPONENT_BYTES_MAX, EVENT_BYTES_MAX};

/// Bounds of the HTTP edge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Names that requests may be for, beside IP addresses and `localhost`; in lower case.
    pub allowed_hosts: Vec<String>,
    /// From accepting a connection to its first byte, in milliseconds.
    pub first_byte_ms_max: u64,
    /// From the first byte of a request to the end of its headers, in milliseconds.
    pub header_ms_max: u64,
    /// From the end of the headers to the end of the body, in milliseconds.
    pub body_ms_max: u64,
    /// The rate that a body must keep up after its first five seconds.
    pub body_bytes_per_second_min: u64,
    /// A connection without a request is closed after this long, in milliseconds.
    pub idle_ms_max: u64,
    /// A client that takes nothing of its answer for this long is cut off, in milliseconds.
    pub stalled_ms_max: u64,
    /// If a client sends no more and its answer has not begun, the connection is closed after this time, in
    /// milliseconds: the client may be gone.
    pub half_closed_ms_max: u64,
    /// How long a connection that is refused more is read on, so that its client comes to see the
    /// answer, in milliseconds.
    pub leaving_ms_max: u64,
    /// How long nothing may come meanwhile, in milliseconds.
    pub leaving_quiet_ms_max: u64,
    /// How many bytes are read on, at most.
    pub leaving_bytes_max: usize,
    /// How long a connection must have waited for its first request before it gives way to a newcomer,
    /// in milliseconds.
    pub first_yields_after_ms: u64,
    /// How long a connection must have waited for anything else of its client before it does.
    pub idle_yields_after_ms: u64,
    /// What running requests get to end in when the server stops, in milliseconds.
    pub drain_ms_max: u64,
    /// All headers of a request together with its first line, in bytes.
    pub header_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// A body that holds one event, and every other JSON body, in bytes.
    pub event_bytes_max: usize,
    /// A body that holds a batch, in bytes.
    pub batch_bytes_max: usize,
    /// A component, in bytes.
    pub component_bytes_max: usize,
    /// A manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64. All there are: the bus listens on
    /// loopback only, so that one address may be every client, or a proxy with its own.
    pub connections_per_address_max: usize,
    /// Connections beyond either bound that get health and metrics only.
    pub connections_reserved: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Bytes of request bodies that are held at once.
    pub request_bytes_in_flight_max: usize,
    /// Bytes of pages that are held at once until their readers have taken them.
    pub answer_bytes_in_flight_max: usize,
    /// Readers of server-sent events at once.
    pub event_streams_max: usize,
    /// Functions that are tried at once, beside those that deliveries run.
    pub trials_max: usize,
    /// Requests at once that explain an event, try a rule or bring a pattern; some of them wait for a turn.
    pub explanations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            first_byte_ms_max: 10_000,
            header_ms_max: 10_000,
            body_ms_max: 30_000,
            body_bytes_per_second_min: 1_024,
            idle_ms_max: 75_000,
            stalled_ms_max: 30_000,
            half_closed_ms_max: 10_000,
            leaving_ms_max: 30_000,
            leaving_quiet_ms_max: 5_000,
            leaving_bytes_max: 64 << 20,
            first_yields_after_ms: 100,
            idle_yields_after_ms: 1_000,
            drain_ms_max: 20_000,
            header_bytes_max: 32 << 10,
            headers_max: 64,
            event_bytes_max: EVENT_BYTES_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
            component_bytes_max: COMPONENT_BYTES_MAX,
            manifest_bytes_max: 1 << 20,
            connections_max: 1_024,
            connections_per_address_max: 1_024,
            connections_reserved: 16,
            streams_per_connection_max: 64,
            request_bytes_in_flight_max: 64 << 20,
            answer_bytes_in_flight_max: 64 << 20,
            event_streams_max: 128,
            trials_max: 4,
            explanations_max: 4,
        }
    }
}

impl Limits {
    /// How often a connection is checked: each time limit is exact to a quarter of the shortest one.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self
            .first_byte_ms_max
            .min(self.header_ms_max)
            .min(self.idle_ms_max)
            .min(self.stalled_ms_max)
            .min(self.half_closed_ms_max)
            .min(self.leaving_quiet_ms_max);
        Duration::from_millis((shortest / 4).max(1))
    }
}
