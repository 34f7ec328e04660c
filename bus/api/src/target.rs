//! The target of a rule as answers name it: a member called after its kind, with its name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::Name;

/// One line for each kind that the bus delivers to: its comment, and its word, which is the member.
macro_rules! kinds {
    ($($(#[$words:meta])+ $kind:ident,)+) => {
        /// Who gets an event: the one that is there.
        #[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct TargetName {
            $(
                $(#[$words])+
                #[serde(skip_serializing_if = "Option::is_none")]
                #[schemars(with = "Option<Name>")]
                pub $kind: Option<String>,
            )+
        }

        impl TargetName {
            /// The target of this name; `kind` is its word. One of a kind that is not known here has no name.
            #[must_use]
            pub fn of(kind: &str, name: &str) -> Self {
                let name_of = |own: &str| (kind == own).then(|| name.to_owned());
                Self {
                    $($kind: name_of(stringify!($kind)),)+
                }
            }

            /// Its name.
            #[must_use]
            pub fn name(&self) -> Option<&str> {
                [$(self.$kind.as_deref(),)+].into_iter().flatten().next()
            }
        }
    };
}

kinds! {
    /// The function, where it is one.
    function,
}
