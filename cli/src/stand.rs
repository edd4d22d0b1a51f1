//! From the flags of `elect` and `run` to an elector. Owns that both mean the same by them.

use leadership_core::{Client, Elector, ElectorBuilder, Mode};

use crate::args::Stand;

impl Stand {
    /// The kind of election.
    fn mode(&self) -> Mode {
        if self.queue { Mode::Queue } else { Mode::SingleKey }
    }

    /// What others see of the leader.
    pub(crate) fn value(&self) -> String {
        self.value.clone().unwrap_or_else(default_value)
    }

    /// An elector with these flags, for more options.
    pub(crate) fn builder(&self, client: &Client, purpose: &str) -> ElectorBuilder {
        Elector::builder(client, self.election.as_str())
            .purpose(purpose)
            .value(self.value())
            .ttl(self.ttl)
            .mode(self.mode())
            .priority(self.priority)
            .take_back(self.take_back)
            .takeover_delay(self.takeover_delay)
    }
}

/// `HOSTNAME:PID`: tells one process from another without asking anybody.
pub(crate) fn default_value() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{host}:{}", std::process::id())
}
