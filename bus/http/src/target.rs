//! Targets in answers: a member named after the kind, with the target's name, as in the manifest.
//!
//! Never here: a policy, an input.

use edgebus_api::TargetName;
use edgebus_model::Target;

/// The target as the API names it.
pub(super) fn named(target: &Target) -> TargetName {
    TargetName::of(target.kind().word(), target.name().as_str())
}
