//! The capabilities of guests. Each has its own file, and all files have the same parts.
//!
//! A file names its interface in `wit/`, bounds what one attempt may do with it, does the host's work for
//! each call, and says what an attempt leaves behind. What it needs of the bus comes in through [`Given`]:
//! what the manifest grants, and narrow traits for everything outside. So the work is written once for all
//! runtimes and for tests. A runtime only links the interface to it. Never here: wasmtime, a store, a socket.

pub mod config;
pub mod log;
pub mod metrics;
pub mod replay;
pub mod secrets;
pub mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use edgebus_model::{FunctionConfig, Outcome};

/// Every capability. A `match` on this type does not compile until it handles a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// The function's own durable keys and values.
    State,
    /// Values of the manifest.
    Config,
    /// Secrets that the manifest grants.
    Secrets,
    /// Lines that are kept with the attempt.
    Log,
    /// Counts and times that the bus shows.
    Metrics,
    /// The replay that the delivery belongs to, if any.
    Replay,
}

impl Capability {
    /// All of them, in the order of the world in `wit/`.
    pub const ALL: [Self; 6] = [
        Self::State,
        Self::Config,
        Self::Secrets,
        Self::Log,
        Self::Metrics,
        Self::Replay,
    ];

    /// The interface that a guest imports, without its version.
    #[must_use]
    pub const fn interface(self) -> &'static str {
        match self {
            Self::State => state::INTERFACE,
            Self::Config => config::INTERFACE,
            Self::Secrets => secrets::INTERFACE,
            Self::Log => log::INTERFACE,
            Self::Metrics => metrics::INTERFACE,
            Self::Replay => replay::INTERFACE,
        }
    }
}

/// What the bus gives to the capabilities of one attempt.
pub struct Given<'a> {
    /// What the manifest says about the function: its limits, and what it is granted.
    pub function: &'a FunctionConfig,
    /// The values of the secrets that the manifest grants, by name.
    pub secrets: Arc<BTreeMap<String, String>>,
    /// The state without this attempt.
    pub state: &'a mut dyn state::Source,
    /// What capabilities keep of the function between its attempts.
    pub kept: &'a Arc<Kept>,
    /// The replay that the delivery belongs to. `None` for a live delivery.
    pub replay: Option<replay::Info>,
}

/// The capabilities of one attempt, and what it did with them so far.
pub struct Capabilities<'a> {
    /// See [`state`].
    pub state: state::State<'a>,
    /// See [`config`].
    pub config: config::Config<'a>,
    /// See [`secrets`].
    pub secrets: secrets::Secrets,
    /// See [`metrics`].
    pub metrics: metrics::Metrics<'a>,
    /// See [`replay`].
    pub replay: replay::Replay,
    kept: &'a Arc<Kept>,
}

impl<'a> Capabilities<'a> {
    /// The capabilities of an attempt that begins.
    #[must_use]
    pub fn new(given: Given<'a>) -> Self {
        Self {
            state: state::State::new(given.state, &given.function.limits),
            config: config::Config::new(&given.function.config),
            metrics: metrics::Metrics::new(&given.kept.metrics, given.secrets.clone()),
            secrets: secrets::Secrets::new(given.secrets),
            replay: replay::Replay::new(given.replay),
            kept: given.kept,
        }
    }

    /// What the attempt leaves behind, however it ended.
    #[must_use]
    pub fn end(self) -> Effects {
        Effects {
            state: self.state.end(),
            later: Later {
                kept: self.kept.clone(),
                metrics: self.metrics.end(),
            },
        }
    }
}

/// What an attempt leaves behind. None of it has taken effect yet.
#[derive(Default, Debug)]
pub struct Effects {
    /// State that it wrote. The settlement commits it if the attempt succeeded.
    pub state: state::Writes,
    /// What takes effect after the settlement, whatever the outcome is.
    pub later: Later,
}

/// What takes effect when the attempt's settlement is on stable storage. So it happens once for each settled
/// attempt. It is dropped if the attempt runs again after a conflict.
#[derive(Default, Debug)]
pub struct Later {
    kept: Arc<Kept>,
    metrics: metrics::Recorded,
}

impl Later {
    /// Takes effect now, because the settlement with this outcome is on stable storage.
    pub fn take_effect(self, outcome: &Outcome) {
        let Self { kept, metrics } = self;
        kept.metrics.add(metrics, outcome.is_success());
    }
}

/// What capabilities keep of one function between its attempts. It is in memory only. It is lost when the
/// process ends and when the function gets another component.
#[derive(Default, Debug)]
pub struct Kept {
    metrics: metrics::Totals,
}

/// The metrics that capabilities show for `functions`, as Prometheus text.
#[must_use]
pub fn render<'k>(functions: impl Iterator<Item = (&'k str, &'k Kept)>) -> String {
    let mut text = String::new();
    metrics::render(
        functions.map(|(name, kept)| (name, &kept.metrics)),
        &mut text,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_imports_each_capability() {
        let world = include_str!("../../../../wit/function.wit");
        let imports: Vec<String> = world
            .lines()
            .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'))
            .map(|name| format!("edgebus:function/{name}"))
            .collect();
        let known: Vec<_> = Capability::ALL.iter().map(|own| own.interface()).collect();
        assert_eq!(
            imports, known,
            "the imports of the world in wit/function.wit, and Capability::ALL"
        );
    }
}
