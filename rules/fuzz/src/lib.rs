//! What the fuzz targets of the rule engine share: patterns and events made of bytes, and the comparison
//! of everything that matches. `README.md` says how they are run. Never here: a matcher.

pub mod agree;
pub mod choices;
pub mod compare;
pub mod event;
pub mod fixed;
pub mod meeting;
pub mod pattern;
pub mod shape;

#[cfg(test)]
mod tests;
