//! Targets in answers: a member of the kind's word with the target's name, as the manifest writes it.
//!
//! Never here: a policy, an input.

use super::json::Object;
use edgebus_model::Target;

/// Writes `"function": "triage"`.
pub(super) fn write(object: &mut Object<'_>, target: &Target) {
    object.text(target.kind().word(), target.name().as_str());
}
