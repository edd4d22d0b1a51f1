//! The extension module `leadership._leadership`: convert, call the core, convert. Owns the list of what is in it.
//! What the package shows, its names and its types are `leadership/*.py`'s; all behaviour is the core's.

mod client;
mod convert;
mod elector;
mod elector_options;
mod ending;
mod error;
mod events;
mod health;
mod holders;
mod lead;
mod lease;
mod log;
mod observer;
mod operator;
mod participant;
mod pulled;
mod queue;
mod term;
mod testing;
mod txn;
mod unlocked;
mod wait;

use leadership_core::Reason;
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _leadership(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<client::Client>()?;
    module.add_class::<client::Leader>()?;
    module.add_function(wrap_pyfunction!(client::close_all, module)?)?;
    module.add_class::<lead::Leadership>()?;
    module.add_class::<lead::WatchEnd>()?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<lease::SharedLease>()?;
    module.add_class::<operator::Operator>()?;
    module.add_class::<term::Term>()?;
    module.add_class::<term::OwnedTerm>()?;
    module.add_class::<elector::Elector>()?;
    module.add_class::<queue::Election>()?;
    module.add_class::<participant::Participant>()?;
    module.add_class::<observer::Observer>()?;
    module.add_class::<observer::Observed>()?;
    module.add_class::<events::Event>()?;
    module.add_class::<events::Events>()?;
    module.add_class::<txn::Compare>()?;
    module.add_class::<txn::Op>()?;
    module.add_class::<txn::OpReply>()?;
    module.add_class::<txn::KeyValue>()?;
    module.add_class::<txn::Txn>()?;
    module.add_class::<txn::TxnReply>()?;
    // The core's own list, against which the tests hold the enumeration that people see.
    module.add("REASONS", Reason::ALL.map(|reason| (reason as u8, reason.name())).to_vec())?;
    testing::add(module)
}
