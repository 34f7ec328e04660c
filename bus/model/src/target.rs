//! Where a rule sends what it matches, and the name under which that subscription is known.
//!
//! A target is opaque: other code only compares and names it. `pipeline/target` has a file for what each kind
//! does. Never here: attempts, limits, a store.

use std::fmt;
use std::sync::Arc;

use super::{InputConfig, Name, NameError, RetryPolicy};

macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident = $number:literal $word:literal $is_built:literal,)*) => {
        /// Who gets what a rule matches.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Target {
            $($(#[$about])* $kind(Name),)*
        }

        /// What kind a target is of.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum TargetKind {
            $($(#[$about])* $kind,)*
        }

        impl TargetKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its number in stored records, which is never given to another.
            #[must_use]
            pub fn number(self) -> u8 {
                match self { $(Self::$kind => $number,)* }
            }

            /// Its word, which is also the manifest's key.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// True if this release can deliver to it.
            #[must_use]
            pub fn is_built(self) -> bool {
                match self { $(Self::$kind => $is_built,)* }
            }

            /// The target of this kind and name.
            #[must_use]
            pub fn named(self, name: Name) -> Target {
                match self { $(Self::$kind => Target::$kind(name),)* }
            }
        }

        impl Target {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> TargetKind {
                match self { $(Self::$kind(_) => TargetKind::$kind,)* }
            }

            /// Its name, which is unique among the targets of its kind.
            #[must_use]
            pub fn name(&self) -> &Name {
                match self { $(Self::$kind(name) => name,)* }
            }
        }
    };
}

// The table of all kinds: number in records, the manifest's key, and whether it is built.
kinds! {
    /// A function of this name handles the event.
    Function = 0 "function" true,
    /// The event is sent to the webhook of this name. Not built yet.
    Webhook = 1 "webhook" false,
    /// The event goes to another bus. Not built yet.
    Bus = 2 "bus" false,
    /// The event waits in a queue until a client takes it. Not built yet.
    Queue = 3 "queue" false,
}

impl Target {
    /// The function that must be deployed for it; `None` if it needs none.
    #[must_use]
    pub fn function(&self) -> Option<&Name> {
        match self {
            Self::Function(name) => Some(name),
            _ => None,
        }
    }
}

/// In words: ``function `triage` ``.
impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} `{}`", self.kind().word(), self.name())
    }
}

/// The name of a subscription: a [`Name`], or two of them joined with `/`. It stays when rule and target
/// are renamed, and so do the subscription's number, history, backlog and dead letters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionName(Arc<str>);

impl SubscriptionName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 2 * Name::BYTES_MAX + 1;

    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    /// [`SubscriptionNameError`] says what is wrong with it. Digits alone are a subscription's number.
    pub fn new(text: &str) -> Result<Self, SubscriptionNameError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SubscriptionNameError::Number(
                text.chars().take(80).collect(),
            ));
        }
        let (first, second) = match text.split_once('/') {
            Some((first, second)) => (first, Some(second)),
            None => (text, None),
        };
        Name::new(first)?;
        second.map(Name::new).transpose()?;
        Ok(Self(text.into()))
    }

    /// The name of a subscription that was given none: `rule/target`.
    #[must_use]
    pub fn of(rule: &Name, target: &Target) -> Self {
        Self(format!("{rule}/{}", target.name()).into())
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for SubscriptionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", &*self.0)
    }
}

/// Why a text is no [`SubscriptionName`], and how to write one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionNameError {
    /// A part of it is no name.
    #[error(transparent)]
    Part(#[from] NameError),
    /// It is a number.
    #[error(
        "`{0}` is not a name of a subscription: digits alone are a subscription's number; write a letter into it"
    )]
    Number(String),
}

/// How long a dead letter is kept where nothing else is said: 14 days, in milliseconds.
pub const DEAD_LETTER_MS_DEFAULT: u64 = 14 * 24 * 3_600_000;

/// One target of a rule, with its delivery policy: a subscription as the manifest has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetConfig {
    /// The subscription's name, unique among those active.
    pub name: SubscriptionName,
    /// Who gets the event.
    pub to: Target,
    /// What of the event it gets as data; `None` is the event's own data.
    pub input: Option<InputConfig>,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// How long a dead letter is kept, in milliseconds.
    pub dead_letter_ms: u64,
    /// The bus that an event which becomes a dead letter is also published on; `None` is none.
    pub dead_letter_bus: Option<Name>,
}

impl TargetConfig {
    /// A target of `rule` with the default name and policy.
    #[must_use]
    pub fn with_defaults(rule: &Name, to: Target) -> Self {
        Self {
            name: SubscriptionName::of(rule, &to),
            to,
            input: None,
            retry: RetryPolicy::default(),
            dead_letter_ms: DEAD_LETTER_MS_DEFAULT,
            dead_letter_bus: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_subscriptions_are_one_name_or_two() {
        let part = "x".repeat(64);
        let long = format!("{part}/{part}");
        assert_eq!(long.len(), SubscriptionName::BYTES_MAX);
        for good in ["a", "a/b", "0/1", "1a", "a.b_c-D/e", &long] {
            assert_eq!(SubscriptionName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a b",
            "a/ b",
            "7",
            "0123",
            "ä/b",
            &format!("{part}x/b"),
        ] {
            assert!(SubscriptionName::new(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_kind_makes_targets_of_itself() {
        let name = Name::new("n").unwrap();
        let mut numbers = std::collections::BTreeSet::new();
        for &kind in TargetKind::ALL {
            let target = kind.named(name.clone());
            assert_eq!((target.kind(), target.name()), (kind, &name));
            assert_eq!(target.function().is_some(), kind == TargetKind::Function);
            assert!(
                numbers.insert(kind.number()),
                "{kind:?} has another kind's number"
            );
        }
        let rule = Name::new("r").unwrap();
        let target = TargetConfig::with_defaults(&rule, Target::Function(name));
        assert_eq!(target.name.as_str(), "r/n");
        assert_eq!(target.to.to_string(), "function `n`");
    }
}
