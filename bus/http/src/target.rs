//! Targets in answers: a member named after the kind, with the target's name, as in the manifest.
//!
//! Never here: a policy, an input.

use super::json::Object;
use edgebus_model::Target;

/// Writes `"function": "triage"`.
pub(super) fn write(object: &mut Object<'_>, target: &Target) {
    object.text(target.kind().word(), target.name().as_str());
}
