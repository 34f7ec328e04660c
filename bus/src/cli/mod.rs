//! The command line: one file per noun, over the public interface.

pub mod mapping;
