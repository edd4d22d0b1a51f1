//! How large what a caller hands in may be (S13). Owns the limit and counting; etcd has the last word on the whole.

use super::{Compare, Op, OpKind, Target};
use crate::error::{Error, Result};

/// etcd takes requests of up to 1.5 MiB (the default of its `--max-request-bytes`) …
const MAX_REQUEST: usize = 3 << 19;
/// … of which this much is left for our own compares and the names around a value.
const OURS: usize = 16 << 10;

/// An argument of this many bytes.
pub(crate) fn check_size(argument: &str, bytes: usize) -> Result<()> {
    let most = MAX_REQUEST - OURS;
    if bytes > most {
        return Err(Error::invalid(argument, format!("{bytes} bytes; etcd takes requests of 1.5 MiB, {most} bytes are left")));
    }
    Ok(())
}

/// Conditions of a caller's.
pub(crate) fn check_compares_size(argument: &str, compares: &[Compare]) -> Result<()> {
    let size = |compare: &Compare| {
        compare.key.len() + if let Target::Value(value) = &compare.target { value.len() } else { 0 }
    };
    check_size(argument, compares.iter().map(size).sum())
}

/// Operations of a caller's.
pub(crate) fn check_ops_size(argument: &str, ops: &[Op]) -> Result<()> {
    let size = |op: &Op| match &op.0 {
        OpKind::Put { key, value, .. } => key.len() + value.len(),
        OpKind::Delete { key, range_end, .. } | OpKind::Get { key, range_end, .. } => key.len() + range_end.len(),
        OpKind::Rehang { .. } | OpKind::Txn(_) => 0, // only the library itself makes these
    };
    check_size(argument, ops.iter().map(size).sum())
}
