//! Integration tests: the real binary over real HTTP, one file for each topic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and its name is its documentation"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod capabilities;
mod clients;
mod commands;
mod compile;
mod crash;
mod dead_letter_bus;
mod deliver;
mod dev;
mod docs;
mod edge;
mod erasure;
mod errors;
mod everyday;
mod explain;
mod filters;
mod follow;
mod fsck;
mod guests;
mod help;
mod init;
mod malformed;
mod manifest;
mod openapi;
mod operate;
mod publish;
mod redrive;
mod replays;
mod retention;
mod shadow;
mod start;
mod stdin;
mod store_file;
mod terminal;
mod tidy;
mod webhooks;
