//! Owns transactions: what etcd refuses up front, which branches are taken, and doing them in one revision.
//! Leaves single operations to the store, permissions to `auth`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use etcd_client::proto::{
    PbCompare, PbCompareTarget, PbKeyValue, PbPutRequest, PbResponseHeader, PbResponseOp,
    PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};
use tonic::Status;

use super::{Committed, Interval, Store, Writing, range};
use crate::refusal;
use crate::version::Version;

/// etcd's `--max-txn-ops`.
pub(crate) const MAX_OPS: usize = 128;

/// What can be refused without looking at the store: too many operations, empty keys, a key put twice.
pub(crate) fn check(txn: &PbTxnRequest, version: Version) -> Result<(), Status> {
    check_counted(txn, MAX_OPS, version)?;
    overlaps(&txn.success)?;
    overlaps(&txn.failure)?;
    Ok(())
}

/// A nested transaction has what its parents have left: each level takes the longest of its three lists.
fn check_counted(txn: &PbTxnRequest, allowed: usize, version: Version) -> Result<(), Status> {
    let taken = txn
        .compare
        .len()
        .max(txn.success.len())
        .max(txn.failure.len());
    let Some(left) = allowed.checked_sub(taken) else {
        return Err(refusal::too_many_ops());
    };
    if txn.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(refusal::empty_key());
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(PbTxnOpRequest::RequestRange(request)) => range::check(request, version)?,
            Some(PbTxnOpRequest::RequestPut(request)) => check_put(request)?,
            Some(PbTxnOpRequest::RequestDeleteRange(request)) if request.key.is_empty() => {
                return Err(refusal::empty_key());
            }
            Some(PbTxnOpRequest::RequestDeleteRange(_)) => {}
            Some(PbTxnOpRequest::RequestTxn(nested)) => check_counted(nested, left, version)?,
            None => return Err(refusal::key_not_found()),
        }
    }
    Ok(())
}

/// What can be refused of a put without looking at the store.
pub(crate) fn check_put(request: &PbPutRequest) -> Result<(), Status> {
    if request.key.is_empty() {
        return Err(refusal::empty_key());
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(refusal::value_provided());
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(refusal::lease_provided());
    }
    Ok(())
}

type Touched = (BTreeSet<Vec<u8>>, Vec<Interval>);

/// No key may be put twice, or put and deleted, on one path. The order of the checks is etcd's, gaps included:
/// a nested delete is not held against a put of an earlier sibling.
fn overlaps(ops: &[PbTxnRequestOp]) -> Result<Touched, Status> {
    let mut deletes: Vec<Interval> = Vec::new();
    for op in ops {
        if let Some(PbTxnOpRequest::RequestDeleteRange(request)) = &op.request {
            // Here etcd does not read "\0" as "all from the key on": such an interval is empty to this check.
            deletes.push(match request.range_end.as_slice() {
                [] => Interval::One(request.key.clone()),
                end => Interval::Between(request.key.clone(), end.to_vec()),
            });
        }
    }
    let deleted =
        |deletes: &[Interval], key: &[u8]| deletes.iter().any(|interval| interval.contains(key));
    let mut puts: BTreeSet<Vec<u8>> = BTreeSet::new();
    for op in ops {
        let Some(PbTxnOpRequest::RequestTxn(nested)) = &op.request else {
            continue;
        };
        let (then_puts, then_deletes) = overlaps(&nested.success)?;
        let (else_puts, else_deletes) = overlaps(&nested.failure)?;
        for key in &then_puts {
            if puts.contains(key) || deleted(&deletes, key) {
                return Err(refusal::duplicate_key());
            }
        }
        puts.extend(then_puts.iter().cloned());
        for key in else_puts {
            if (puts.contains(&key) && !then_puts.contains(&key)) || deleted(&deletes, &key) {
                return Err(refusal::duplicate_key());
            }
            puts.insert(key);
        }
        deletes.extend(then_deletes);
        deletes.extend(else_deletes);
    }
    for op in ops {
        let Some(PbTxnOpRequest::RequestPut(request)) = &op.request else {
            continue;
        };
        if deleted(&deletes, &request.key) || !puts.insert(request.key.clone()) {
            return Err(refusal::duplicate_key());
        }
    }
    Ok((puts, deletes))
}

/// Which branch a transaction takes, and those of the nested ones in it. All compares are made before any write.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

fn branch(txn: &PbTxnRequest, succeeded: bool) -> &[PbTxnRequestOp] {
    if succeeded {
        &txn.success
    } else {
        &txn.failure
    }
}

impl Store {
    /// Runs a transaction that passed `check`: wholly or not at all.
    pub(crate) fn txn(
        &mut self,
        txn: &PbTxnRequest,
        lease_exists: &dyn Fn(i64) -> bool,
    ) -> Result<(PbTxnResponse, Committed), Status> {
        let path = self.path(txn);
        self.check_taken(txn, &path, lease_exists)?;
        let mut writing = self.write();
        let mut response = writing.take(txn, &path)?;
        let committed = writing.commit();
        response.header = Some(PbResponseHeader {
            revision: committed.revision,
            ..Default::default()
        });
        Ok((response, committed))
    }

    fn path(&self, txn: &PbTxnRequest) -> Path {
        let succeeded = txn.compare.iter().all(|compare| self.compare(compare));
        let nested = branch(txn, succeeded)
            .iter()
            .filter_map(|op| match &op.request {
                Some(PbTxnOpRequest::RequestTxn(nested)) => Some(self.path(nested)),
                _ => None,
            })
            .collect();
        Path { succeeded, nested }
    }

    /// What etcd looks at on the taken path before it writes anything.
    fn check_taken(
        &self,
        txn: &PbTxnRequest,
        path: &Path,
        lease_exists: &dyn Fn(i64) -> bool,
    ) -> Result<(), Status> {
        let mut nested_paths = path.nested.iter();
        for op in branch(txn, path.succeeded) {
            match &op.request {
                Some(PbTxnOpRequest::RequestRange(request)) => {
                    self.check_revision(request.revision, self.revision)?
                }
                Some(PbTxnOpRequest::RequestPut(request)) => {
                    self.check_applied(request, lease_exists)?
                }
                Some(PbTxnOpRequest::RequestTxn(nested)) => {
                    if let Some(path) = nested_paths.next() {
                        self.check_taken(nested, path, lease_exists)?;
                    }
                }
                Some(PbTxnOpRequest::RequestDeleteRange(_)) | None => {}
            }
        }
        Ok(())
    }

    /// What a put needs of the store: its lease, and the key if it is to keep something.
    pub(crate) fn check_applied(
        &self,
        request: &PbPutRequest,
        lease_exists: &dyn Fn(i64) -> bool,
    ) -> Result<(), Status> {
        if (request.ignore_value || request.ignore_lease) && self.get(&request.key).is_none() {
            return Err(refusal::key_not_found());
        }
        if request.lease != 0 && !lease_exists(request.lease) {
            return Err(refusal::lease_not_found());
        }
        Ok(())
    }

    /// A compare over an interval holds if it holds for every key of it.
    fn compare(&self, compare: &PbCompare) -> bool {
        let found = self.select(&Interval::new(&compare.key, &compare.range_end), i64::MAX);
        if found.is_empty() {
            // An absent key has zero revisions, version and lease, but no value, not even an empty one.
            return compare.target != PbCompareTarget::Value as i32
                && holds(compare, &PbKeyValue::default());
        }
        found.into_iter().all(|kv| holds(compare, kv))
    }
}

fn holds(compare: &PbCompare, kv: &PbKeyValue) -> bool {
    let number = |mine: i64, theirs: Option<i64>| mine.cmp(&theirs.unwrap_or(0));
    let union = compare.target_union.as_ref();
    let ordering = match compare.target {
        0 => number(
            kv.version,
            union.and_then(|u| {
                if let PbTargetUnion::Version(v) = u {
                    Some(*v)
                } else {
                    None
                }
            }),
        ),
        1 => number(
            kv.create_revision,
            union.and_then(|u| {
                if let PbTargetUnion::CreateRevision(v) = u {
                    Some(*v)
                } else {
                    None
                }
            }),
        ),
        2 => number(
            kv.mod_revision,
            union.and_then(|u| {
                if let PbTargetUnion::ModRevision(v) = u {
                    Some(*v)
                } else {
                    None
                }
            }),
        ),
        3 => {
            let theirs = match union {
                Some(PbTargetUnion::Value(value)) => value.as_slice(),
                _ => &[],
            };
            kv.value.as_slice().cmp(theirs)
        }
        4 => number(
            kv.lease,
            union.and_then(|u| {
                if let PbTargetUnion::Lease(v) = u {
                    Some(*v)
                } else {
                    None
                }
            }),
        ),
        _ => Ordering::Equal,
    };
    match compare.result {
        0 => ordering == Ordering::Equal,
        1 => ordering == Ordering::Greater,
        2 => ordering == Ordering::Less,
        3 => ordering != Ordering::Equal,
        _ => true,
    }
}

impl Writing<'_> {
    fn take(&mut self, txn: &PbTxnRequest, path: &Path) -> Result<PbTxnResponse, Status> {
        let mut responses = Vec::new();
        let mut nested_paths = path.nested.iter();
        for op in branch(txn, path.succeeded) {
            let response = match &op.request {
                Some(PbTxnOpRequest::RequestRange(request)) => {
                    let present = self.reading_at();
                    Some(PbTxnOpResponse::ResponseRange(
                        self.store.range_at(request, present)?,
                    ))
                }
                Some(PbTxnOpRequest::RequestPut(request)) => {
                    Some(PbTxnOpResponse::ResponsePut(self.put(request)))
                }
                Some(PbTxnOpRequest::RequestDeleteRange(request)) => {
                    Some(PbTxnOpResponse::ResponseDeleteRange(self.delete(request)))
                }
                Some(PbTxnOpRequest::RequestTxn(nested)) => match nested_paths.next() {
                    Some(path) => Some(PbTxnOpResponse::ResponseTxn(self.take(nested, path)?)),
                    None => None,
                },
                None => None,
            };
            responses.push(PbResponseOp { response });
        }
        // etcd leaves the header of a nested answer empty.
        Ok(PbTxnResponse {
            header: Some(PbResponseHeader::default()),
            succeeded: path.succeeded,
            responses,
        })
    }
}
