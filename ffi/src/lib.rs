//! Near-empty until its issue.
