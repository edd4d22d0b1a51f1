//! Owns reads: intervals, limits, sorting, filters by revision, reads in the past.
//! Leaves writing and compaction to the store itself.

use std::cmp::Ordering;
use std::ops::Bound;

use etcd_client::proto::{PbKeyValue, PbRangeRequest, PbRangeResponse, PbResponseHeader};
use tonic::Status;

use super::{Interval, Store};
use crate::refusal;
use crate::version::Version;

/// etcd's numbers for `sort_target` and `sort_order`; its enums are not public in the client crate.
const TARGET_KEY: i32 = 0;
const ORDER_NONE: i32 = 0;
const ORDER_DESCEND: i32 = 2;

/// What can be refused without looking at the store. An unknown target ends the process of an etcd before 3.6: here it
/// is refused as the newer ones do.
pub(crate) fn check(request: &PbRangeRequest, version: Version) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(refusal::empty_key());
    }
    let order_known = (0..=2).contains(&request.sort_order) || !version.refuses_unknown_order();
    if !order_known || !(0..=4).contains(&request.sort_target) {
        return Err(refusal::invalid_sort());
    }
    Ok(())
}

impl Store {
    /// The keys of an interval at a revision, in order.
    pub(super) fn select(&self, interval: &Interval, revision: i64) -> Vec<&PbKeyValue> {
        let (start, end) = match interval {
            Interval::One(key) => return self.at(key, revision).into_iter().collect(),
            Interval::From(start) => (start, Bound::Unbounded),
            Interval::Between(start, end) if start < end => (start, Bound::Excluded(end.clone())),
            Interval::Between(..) => return Vec::new(),
        };
        self.keys
            .range((Bound::Included(start.clone()), end))
            .filter_map(|(_, history)| {
                history
                    .iter()
                    .rev()
                    .find(|recorded| recorded.revision <= revision)?
                    .kv
                    .as_ref()
            })
            .collect()
    }

    /// Whether a read at `revision` can be served, with the present one given (it differs inside a transaction).
    pub(super) fn check_revision(&self, revision: i64, present: i64) -> Result<(), Status> {
        if revision > present {
            return Err(refusal::future_revision());
        }
        if revision > 0 && revision < self.compacted {
            return Err(refusal::compacted());
        }
        Ok(())
    }

    /// A read of the newest revision, or of an older one.
    pub(crate) fn range(&self, request: &PbRangeRequest) -> Result<PbRangeResponse, Status> {
        self.range_at(request, self.revision)
    }

    /// The same inside a transaction, whose present is `present`.
    pub(super) fn range_at(
        &self,
        request: &PbRangeRequest,
        present: i64,
    ) -> Result<PbRangeResponse, Status> {
        self.check_revision(request.revision, present)?;
        let at = if request.revision > 0 {
            request.revision
        } else {
            i64::MAX
        };
        let found = self.select(&Interval::new(&request.key, &request.range_end), at);
        let header = Some(PbResponseHeader {
            revision: present,
            ..Default::default()
        });
        let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
        if request.count_only {
            return Ok(PbRangeResponse {
                header,
                count,
                ..Default::default()
            });
        }
        // etcd counts before it filters.
        let mut kvs: Vec<&PbKeyValue> = found
            .into_iter()
            .filter(|kv| {
                request.max_mod_revision == 0 || kv.mod_revision <= request.max_mod_revision
            })
            .filter(|kv| {
                request.min_mod_revision == 0 || kv.mod_revision >= request.min_mod_revision
            })
            .filter(|kv| {
                request.max_create_revision == 0
                    || kv.create_revision <= request.max_create_revision
            })
            .filter(|kv| {
                request.min_create_revision == 0
                    || kv.create_revision >= request.min_create_revision
            })
            .collect();
        let known = (ORDER_NONE..=ORDER_DESCEND).contains(&request.sort_order);
        if known && (request.sort_order != ORDER_NONE || request.sort_target != TARGET_KEY) {
            kvs.sort_by(|a, b| by_target(request.sort_target, a, b));
            if request.sort_order == ORDER_DESCEND {
                kvs.reverse();
            }
        }
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        // Only what is sent is copied: a read of the first few of thousands costs little.
        let mut kvs: Vec<PbKeyValue> = kvs.into_iter().cloned().collect();
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(PbRangeResponse {
            header,
            kvs,
            more,
            count,
        })
    }
}

fn by_target(target: i32, a: &PbKeyValue, b: &PbKeyValue) -> Ordering {
    match target {
        1 => a.version.cmp(&b.version),
        2 => a.create_revision.cmp(&b.create_revision),
        3 => a.mod_revision.cmp(&b.mod_revision),
        4 => a.value.cmp(&b.value),
        _ => a.key.cmp(&b.key),
    }
}
