//! Settings of a serving bus: plain data with defaults. Never a component, never I/O.
//!
//! A flag wins over the environment (`EDGEBUS_…`), and both over the default; the command line fills these in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the API listens by default.
pub const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);

/// Instances of functions at the same time, by default.
pub const INSTANCES_MAX: u32 = 512;

/// How long compiling one component may take, by default.
pub const COMPILE_TIME_MAX: Duration = Duration::from_secs(60);

/// What `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The folder of the store.
    pub data: PathBuf,
    /// Create a new store if the folder is missing or empty. An existing store is opened unchanged.
    pub create: bool,
    /// Where the API listens; loopback only, until there are keys and TLS.
    pub listen: SocketAddr,
    /// The manifest to apply at the start, unless it was before.
    pub manifest: Option<PathBuf>,
    /// The folder with a file for each secret; `None` takes all from the environment.
    pub secrets: Option<PathBuf>,
    /// Bytes of the store that are kept in memory.
    pub cache_bytes: usize,
    /// Memory for the filters of the dedupe windows, in bytes: 2 for each remembered event.
    pub dedupe_bytes: usize,
    /// Publishes are refused while the disk has less free space than this, in bytes; `None` is 256 MiB,
    /// or a twentieth of a disk smaller than 5 GiB.
    pub free_bytes_min: Option<u64>,
    /// Names that requests may be for, beside IP addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Connections from one address.
    pub connections_per_address_max: usize,
    /// Instances of functions at the same time.
    pub instances_max: u32,
    /// How long compiling one component may take.
    pub compile_time_max: Duration,
    /// Memory of one compilation, in bytes; `None` goes by the memory of the machine.
    pub compile_bytes_max: Option<u64>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            data: PathBuf::from("edgebus-data"),
            create: false,
            listen: LISTEN,
            manifest: None,
            secrets: None,
            cache_bytes: 64 << 20,
            dedupe_bytes: 256 << 20,
            free_bytes_min: None,
            allowed_hosts: Vec::new(),
            connections_per_address_max: 1_024,
            instances_max: INSTANCES_MAX,
            compile_time_max: COMPILE_TIME_MAX,
            compile_bytes_max: None,
        }
    }
}
