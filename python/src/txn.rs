//! Guarded transactions as Python writes them: compares, operations, replies. Owns the conversion; what they mean and
//! what they may touch is the core's.

use leadership_core as core;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::convert::{self, show};
use crate::error::in_time;
use crate::unlocked::Unlocked;
use crate::wait::wait;

/// One condition on one key. An absent key has revisions, version and lease 0; a compare of its value fails.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compare {
    pub(crate) inner: core::Compare,
}

type MakeCompare = fn(Vec<u8>, core::CompareOp, i64) -> core::Compare;

fn compare(make: MakeCompare, key: &Bound<'_, PyAny>, op: &str, number: i64) -> PyResult<Compare> {
    let op = convert::compare_op(key.py(), op)?;
    Ok(Compare { inner: make(convert::bytes("key", key)?, op, number) })
}

#[pymethods]
impl Compare {
    /// Compares the revision at which the key was created (0 = absent).
    #[staticmethod]
    fn create_revision(key: &Bound<'_, PyAny>, op: &str, revision: i64) -> PyResult<Compare> {
        compare(core::Compare::create_revision, key, op, revision)
    }

    /// Compares the revision at which the key was last written.
    #[staticmethod]
    fn mod_revision(key: &Bound<'_, PyAny>, op: &str, revision: i64) -> PyResult<Compare> {
        compare(core::Compare::mod_revision, key, op, revision)
    }

    /// Compares how often the key was written since it was created.
    #[staticmethod]
    fn version(key: &Bound<'_, PyAny>, op: &str, version: i64) -> PyResult<Compare> {
        compare(core::Compare::version, key, op, version)
    }

    /// Compares the id of the lease the key hangs on (0 = none).
    #[staticmethod]
    fn lease(key: &Bound<'_, PyAny>, op: &str, lease_id: i64) -> PyResult<Compare> {
        compare(core::Compare::lease, key, op, lease_id)
    }

    /// Compares the value.
    #[staticmethod]
    fn value(key: &Bound<'_, PyAny>, op: &str, value: &Bound<'_, PyAny>) -> PyResult<Compare> {
        let op = convert::compare_op(key.py(), op)?;
        let inner = core::Compare::value(convert::bytes("key", key)?, op, convert::bytes("value", value)?);
        Ok(Compare { inner })
    }

    fn __repr__(&self) -> String {
        format!("<leadership.{:?}>", self.inner)
    }
}

/// One operation of a transaction.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Op {
    inner: core::Op,
}

#[pymethods]
impl Op {
    /// Writes a key; with `lease_id` it lives as long as that lease.
    #[staticmethod]
    #[pyo3(signature = (key, value, *, lease_id=0))]
    fn put(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, lease_id: i64) -> PyResult<Op> {
        let inner = core::Op::put_with_lease(convert::bytes("key", key)?, convert::bytes("value", value)?, lease_id);
        Ok(Op { inner })
    }

    /// Deletes a key; deleting an absent one is no error.
    #[staticmethod]
    fn delete(key: &Bound<'_, PyAny>) -> PyResult<Op> {
        Ok(Op { inner: core::Op::delete(convert::bytes("key", key)?) })
    }

    /// Deletes every key that starts with `prefix`.
    #[staticmethod]
    fn delete_prefix(prefix: &Bound<'_, PyAny>) -> PyResult<Op> {
        Ok(Op { inner: core::Op::delete_prefix(convert::bytes("prefix", prefix)?) })
    }

    /// Reads a key.
    #[staticmethod]
    fn get(key: &Bound<'_, PyAny>) -> PyResult<Op> {
        Ok(Op { inner: core::Op::get(convert::bytes("key", key)?) })
    }

    /// Reads every key that starts with `prefix`, at most `limit` of them (0 = all).
    #[staticmethod]
    #[pyo3(signature = (prefix, *, limit=0))]
    fn get_prefix(prefix: &Bound<'_, PyAny>, limit: i64) -> PyResult<Op> {
        Ok(Op { inner: core::Op::get_prefix(convert::bytes("prefix", prefix)?, limit) })
    }

    fn __repr__(&self) -> String {
        format!("<leadership.{:?}>", self.inner)
    }
}

/// A transaction that etcd applies only while one term holds the key: `If(guard) Then(your if/then/else)`. Each step
/// returns a new transaction; nothing is sent before `commit`.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct Txn {
    inner: Unlocked<core::GuardedTxn>,
}

impl Txn {
    pub(crate) fn new(inner: core::GuardedTxn) -> Self {
        Txn { inner: Unlocked::new(inner) }
    }

    fn core(&self) -> PyResult<core::GuardedTxn> {
        let txn = self.inner.get().cloned();
        txn.ok_or_else(|| pyo3::exceptions::PyRuntimeError::new_err("the transaction is being dropped"))
    }
}

fn ops(ops: &Bound<'_, PyTuple>) -> PyResult<Vec<core::Op>> {
    ops.iter().map(|op| Ok(op.cast::<Op>()?.get().inner.clone())).collect()
}

#[pymethods]
impl Txn {
    /// Conditions of your own; if one does not hold, `or_else` is applied and `succeeded` is False.
    #[pyo3(signature = (*compares))]
    fn when(&self, compares: &Bound<'_, PyTuple>) -> PyResult<Txn> {
        let compares: Vec<_> = compares
            .iter()
            .map(|compare| Ok(compare.cast::<Compare>()?.get().inner.clone()))
            .collect::<PyResult<_>>()?;
        Ok(Txn::new(self.core()?.when(compares)))
    }

    /// What to do if they hold.
    #[pyo3(signature = (*operations))]
    fn then(&self, operations: &Bound<'_, PyTuple>) -> PyResult<Txn> {
        Ok(Txn::new(self.core()?.then(ops(operations)?)))
    }

    /// What to do if they do not.
    #[pyo3(signature = (*operations))]
    fn or_else(&self, operations: &Bound<'_, PyTuple>) -> PyResult<Txn> {
        Ok(Txn::new(self.core()?.or_else(ops(operations)?)))
    }

    /// Sends it. OutcomeUnknown when the reply was lost; a commit ended by Ctrl-C may have been applied too.
    fn commit(&self, py: Python<'_>) -> PyResult<TxnReply> {
        let reply = wait(py, self.core()?.commit(), None)?;
        Ok(TxnReply { inner: in_time(py, reply, || "commit".to_owned())? })
    }

    fn __repr__(&self) -> String {
        "<leadership.Txn>".to_owned()
    }
}

/// What a transaction answered.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct TxnReply {
    inner: core::TxnReply,
}

#[pymethods]
impl TxnReply {
    /// True if all compares held and the `then` branch was applied.
    #[getter]
    fn succeeded(&self) -> bool {
        self.inner.succeeded
    }

    /// The store's revision after it.
    #[getter]
    fn revision(&self) -> i64 {
        self.inner.revision
    }

    /// One reply for each operation of the branch that was applied.
    #[getter]
    fn replies(&self) -> Vec<OpReply> {
        self.inner.replies.iter().cloned().map(|inner| OpReply { inner }).collect()
    }

    /// The keys read by operation `index` of the branch that was applied; empty for anything else.
    fn kvs(&self, index: usize) -> Vec<KeyValue> {
        self.inner.kvs(index).iter().cloned().map(|inner| KeyValue { inner }).collect()
    }

    fn __repr__(&self) -> String {
        let (state, count) = (self.inner.succeeded, self.inner.replies.len());
        let state = if state { "succeeded" } else { "not succeeded" };
        format!("<leadership.TxnReply {state} revision={} replies={count}>", self.inner.revision)
    }
}

/// What one operation answered.
#[pyclass(frozen, module = "leadership")]
#[derive(Debug)]
pub(crate) struct OpReply {
    inner: core::OpReply,
}

#[pymethods]
impl OpReply {
    /// "put", "delete" or "get".
    #[getter]
    fn kind(&self) -> &'static str {
        match self.inner {
            core::OpReply::Put => "put",
            core::OpReply::Delete { .. } => "delete",
            core::OpReply::Get { .. } => "get",
            _ => "other",
        }
    }

    /// How many keys a delete deleted; 0 for anything else.
    #[getter]
    fn deleted(&self) -> i64 {
        match self.inner {
            core::OpReply::Delete { deleted, .. } => deleted,
            _ => 0,
        }
    }

    /// What a get read; empty for anything else.
    #[getter]
    fn kvs(&self) -> Vec<KeyValue> {
        match &self.inner {
            core::OpReply::Get { kvs, .. } => kvs.iter().cloned().map(|inner| KeyValue { inner }).collect(),
            _ => Vec::new(),
        }
    }

    /// How many keys there are in the range of a get, read or not.
    #[getter]
    fn count(&self) -> i64 {
        match self.inner {
            core::OpReply::Get { count, .. } => count,
            _ => 0,
        }
    }

    fn __repr__(&self) -> String {
        format!("<leadership.OpReply {} deleted={} count={}>", self.kind(), self.deleted(), self.count())
    }
}

/// A key as etcd holds it.
#[pyclass(frozen, eq, module = "leadership")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyValue {
    inner: core::KeyValue,
}

impl From<core::KeyValue> for KeyValue {
    fn from(inner: core::KeyValue) -> Self {
        KeyValue { inner }
    }
}

#[pymethods]
impl KeyValue {
    /// The key.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.key)
    }

    /// The value.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.value)
    }

    /// The revision at which it was created (again).
    #[getter]
    fn create_revision(&self) -> i64 {
        self.inner.create_revision
    }

    /// The revision at which it was last written.
    #[getter]
    fn mod_revision(&self) -> i64 {
        self.inner.mod_revision
    }

    /// How often it was written since it was created.
    #[getter]
    fn version(&self) -> i64 {
        self.inner.version
    }

    /// The lease it hangs on (0 = none).
    #[getter]
    fn lease_id(&self) -> i64 {
        self.inner.lease
    }

    fn __repr__(&self) -> String {
        let kv = &self.inner;
        format!(
            "<leadership.KeyValue {} = {} mod={} lease={:x}>",
            show(&kv.key),
            show(&kv.value),
            kv.mod_revision,
            kv.lease
        )
    }
}
