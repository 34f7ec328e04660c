//! All limits of the HTTP server, as plain data with defaults.

use std::time::Duration;

use edgebus_model::limits::{BATCH_BYTES_MAX, COMPONENT_BYTES_MAX, EVENT_BYTES_MAX};

/// The bounds of the HTTP server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Host names that requests may use, in addition to IP addresses and `localhost`. In lower case.
    pub allowed_hosts: Vec<String>,
    /// From accepting a connection to its first byte, in milliseconds.
    pub first_byte_ms_max: u64,
    /// From the first byte of a request to the end of its headers, in milliseconds.
    pub header_ms_max: u64,
    /// From the end of the headers to the end of the body, in milliseconds.
    pub body_ms_max: u64,
    /// The lowest average rate at which a body may arrive, after its first five seconds.
    pub body_bytes_per_second_min: u64,
    /// A connection without a request is closed after this time, in milliseconds.
    pub idle_ms_max: u64,
    /// A client that reads nothing of its answer for this time is disconnected, in milliseconds.
    pub stalled_ms_max: u64,
    /// If a client sends no more and its answer has not begun, the connection is closed after this time, in
    /// milliseconds. The client may have left.
    pub half_closed_ms_max: u64,
    /// How long the server reads on after it refused the rest of a request, so that the client gets to read
    /// the answer, in milliseconds.
    pub leaving_ms_max: u64,
    /// How long a pause may be during that time, in milliseconds.
    pub leaving_quiet_ms_max: u64,
    /// How many bytes are read during that time, at most.
    pub leaving_bytes_max: usize,
    /// How long a connection must have waited for its first request before a new connection may replace it,
    /// in milliseconds.
    pub first_yields_after_ms: u64,
    /// How long a connection must have waited for anything else from its client before a new connection may
    /// replace it, in milliseconds.
    pub idle_yields_after_ms: u64,
    /// How long running requests may take to end when the server stops, in milliseconds.
    pub drain_ms_max: u64,
    /// All headers of a request together with its first line, in bytes.
    pub header_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// A body with one event, and every other JSON body, in bytes.
    pub event_bytes_max: usize,
    /// A body with a batch, in bytes.
    pub batch_bytes_max: usize,
    /// A component, in bytes.
    pub component_bytes_max: usize,
    /// A manifest, in bytes.
    pub manifest_bytes_max: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Connections at the same time from one IPv4 address or one IPv6 /64. The default is all of them: the
    /// bus listens on loopback only, so one address may be every client, or a proxy that has its own limits.
    pub connections_per_address_max: usize,
    /// Connections beyond either bound. They can use only health and metrics.
    pub connections_reserved: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Bytes of request bodies that are held at the same time.
    pub request_bytes_in_flight_max: usize,
    /// Bytes of pages that are held at the same time, until their readers have taken them.
    pub answer_bytes_in_flight_max: usize,
    /// Readers of server-sent events at the same time.
    pub event_streams_max: usize,
    /// Trials of functions at the same time, in addition to the attempts of deliveries.
    pub trials_max: usize,
    /// Requests at the same time that explain an event, try a rule or bring a pattern. Some of them wait for
    /// their turn.
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
    /// How often a connection is checked. Each time limit is exact to a quarter of the shortest one.
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
