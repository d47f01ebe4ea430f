#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
