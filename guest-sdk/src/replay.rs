//! Whether the event is delivered again, and by which replay.

#[cfg(target_family = "wasm")]
use crate::host::guest::bindings::edgebus::function::replay as host;
#[cfg(not(target_family = "wasm"))]
use native as host;

/// A replay: events of the log that are delivered again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Its name.
    pub name: String,
    /// Its number; the delivery's id ends with it.
    pub number: u32,
}

/// The replay that the delivery belongs to. `None` for a live delivery.
#[must_use]
pub fn current() -> Option<Replay> {
    let current = host::current()?;
    Some(Replay {
        name: current.name,
        number: current.number,
    })
}

/// The implementation for native tests.
#[cfg(not(target_family = "wasm"))]
mod native {
    use super::Replay;
    use crate::host::native::with;
    use crate::testing::Harness;

    #[derive(Default)]
    struct Current(Option<Replay>);

    pub(super) fn current() -> Option<Replay> {
        with(|Current(replay)| replay.clone())
    }

    impl Harness {
        /// Makes the deliveries belong to replay number 1, which has this name.
        pub fn replay(self, name: &str) -> Self {
            let replay = Replay {
                name: name.to_owned(),
                number: 1,
            };
            with(|Current(current)| *current = Some(replay));
            self
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_test_says_whether_a_delivery_is_a_replays() {
            let harness = Harness::new();
            assert_eq!(super::current(), None);
            let _harness = harness.replay("repair");
            let name = crate::replay::current().map(|replay| replay.name);
            assert_eq!(name.as_deref(), Some("repair"));
        }
    }
}
