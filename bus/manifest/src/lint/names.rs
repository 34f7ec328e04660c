//! The names of warnings, for `edgebus validate --allow`.
//!
//! Never here: what a warning says.

use edgebus_model::error::InputError;

macro_rules! lints {
    ($($(#[$about:meta])* $lint:ident = $name:literal),* $(,)?) => {
        /// What a warning is about.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Lint {
            $($(#[$about])* $lint),*
        }

        impl Lint {
            /// All of them, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$lint),*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$lint => $name),*
                }
            }
        }
    };
}

lints! {
    /// A key that has no effect yet.
    NotApplied = "not-applied",
    /// A secret without a value.
    SecretUnset = "secret-unset",
    /// A function that no rule sends events to.
    UnusedFunction = "unused-function",
    /// An attempt that would be made too late.
    SlowRetry = "slow-retry",
    /// A path of `input_paths` that the template doesn't use.
    UnusedPath = "unused-path",
    /// A query that may take very many steps.
    CostlyQuery = "costly-query",
    /// A rule that no test expects, where there are tests.
    UntestedRule = "untested-rule",
    /// A pattern, or a part of one, that no event matches.
    NeverMatches = "never-matches",
    /// Two rules that send the same events to one function.
    SentTwice = "sent-twice",
    /// A target whose dead letters come back to the bus of its own rule, straight away or over other buses.
    DeadLetterLoop = "dead-letter-loop",
    /// An attribute whose name is nearly that of another one.
    NearAttribute = "near-attribute",
    /// A plain value with a `*` in it.
    StarInValue = "star-in-value",
    /// An attribute, which is a text, that a query compares with a number or a boolean.
    AttributeIsText = "attribute-is-text",
    /// A component that is yet to be built.
    Unbuilt = "unbuilt",
    /// A path of `build.watch` where nothing is.
    NothingToWatch = "nothing-to-watch",
    /// A type that never occurred in the log.
    TypeUnseen = "type-unseen",
}

impl Lint {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|lint| lint.name() == name)
    }

    /// A warning about this.
    #[must_use]
    pub fn warning(self, error: InputError) -> Warning {
        Warning { lint: self, error }
    }

    /// Everything that `find` finds, as warnings about this.
    pub(super) fn each(
        self,
        find: impl FnOnce(&mut Vec<InputError>),
    ) -> impl Iterator<Item = Warning> {
        let mut found = Vec::new();
        find(&mut found);
        found.into_iter().map(move |error| self.warning(error))
    }
}

/// A warning: valid, but probably not meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// What it is about.
    pub lint: Lint,
    /// Its place and its words.
    pub error: InputError,
}
