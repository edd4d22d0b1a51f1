//! The real `leadership` command, run as a shell runs it.
//! Owns what the suites share; each file beside it is one of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test's way to fail

mod demo;
mod docs;
mod elect;
mod examples;
mod operate;
mod run;
mod settings;
mod support;
