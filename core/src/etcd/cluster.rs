//! Is it still the one cluster? Its id, its revision and its raft term, as every reply's header tells them.
//! Owns the highest seen and the verdict; ending the terms is the client's.

use super::wire::Header;

/// What has been seen of the cluster so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    id: Option<u64>,
    revision: i64,
    raft_term: u64,
}

/// A sign that another cluster answers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed(pub(crate) String);

impl Cluster {
    /// The highest revision seen; a linearizable reply to a request sent now never has a lower one.
    pub(crate) fn floor(&self) -> i64 {
        self.revision
    }

    /// The highest raft term seen in a linearizable reply (S2).
    pub(crate) fn raft_term(&self) -> u64 {
        self.raft_term
    }

    /// Takes note of a reply. `floor` is [`floor`](Self::floor) at the time of sending, for a linearizable request.
    /// On `Err` everything is forgotten, and the reply is the first of a new cluster.
    pub(crate) fn observe(&mut self, endpoint: &str, header: Header, floor: Option<i64>) -> Result<(), Changed> {
        let changed = match self.id {
            _ if header.cluster == 0 => return Ok(()), // no header, nothing to learn
            Some(id) if id != header.cluster => Some(format!(
                "{endpoint} (member {:x}) belongs to cluster {:x}, the others to {id:x}",
                header.member, header.cluster
            )),
            _ => floor.filter(|floor| header.revision < *floor).map(|floor| {
                format!(
                    "{endpoint} (member {:x}) is at revision {}, where {floor} was seen before: \
                     the cluster was wiped or restored",
                    header.member, header.revision
                )
            }),
        };
        if let Some(message) = changed {
            *self = Cluster {
                id: Some(header.cluster),
                revision: header.revision,
                raft_term: header.raft_term,
            };
            return Err(Changed(message));
        }
        self.id = Some(header.cluster);
        self.revision = self.revision.max(header.revision);
        if floor.is_some() {
            // Only what a quorum stands behind: a member cut off (3.4 has no pre-vote by default) counts its own term
            // up in vain, and with that as the highest nothing would be confirmed any more.
            self.raft_term = self.raft_term.max(header.raft_term);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(cluster: u64, revision: i64, raft_term: u64) -> Header {
        Header {
            cluster,
            member: 1,
            revision,
            raft_term,
        }
    }

    #[test]
    fn case_49_a_wiped_cluster_is_noticed_by_its_revision_and_everything_is_forgotten() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 100, 9), Some(0)).unwrap();
        // A stale read, or one that was sent before the highest was known, is no sign of anything.
        cluster.observe("b", header(7, 90, 8), None).unwrap();
        cluster.observe("b", header(7, 99, 9), Some(99)).unwrap();
        assert_eq!((cluster.floor(), cluster.raft_term()), (100, 9));
        let error = cluster.observe("b", header(7, 3, 2), Some(100)).unwrap_err();
        assert!(error.0.starts_with("b (member 1)"), "{}", error.0);
        assert_eq!((cluster.floor(), cluster.raft_term()), (3, 2));
        cluster.observe("b", header(7, 4, 2), Some(3)).unwrap();
    }

    #[test]
    fn s2_a_member_cut_off_that_counts_its_term_up_does_not_spoil_the_highest() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 5, 2), Some(0)).unwrap();
        cluster.observe("b", header(7, 5, 40), None).unwrap();
        assert_eq!(cluster.raft_term(), 2);
        cluster.observe("a", header(7, 5, 3), Some(5)).unwrap();
        assert_eq!(cluster.raft_term(), 3);
    }

    #[test]
    fn another_cluster_id_is_named_with_its_member() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 5, 2), None).unwrap();
        let error = cluster.observe("b:1", header(8, 500, 20), None).unwrap_err();
        assert!(error.0.contains("b:1") && error.0.contains("cluster 8"), "{}", error.0);
    }
}
