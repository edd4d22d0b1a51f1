//! `leadership completions` and `leadership man`: what a shell and `man` want to know, by clap's own generators.
//! Owns where it goes; the words are `args`'.

use std::io;

use clap::CommandFactory;

use crate::args::{Args, Completions, Man};
use crate::failure::Failure;
use crate::output::Output;

/// A shell's completions, on standard output.
pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "leadership", &mut script);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
}

/// A page for the command and one for each of its subcommands.
pub(crate) fn man(args: &Man, output: Output) -> Result<(), Failure> {
    let no = |error: io::Error| Failure::other(format!("{}: {error}", args.folder.display()));
    std::fs::create_dir_all(&args.folder).map_err(no)?;
    clap_mangen::generate_to(Args::command(), &args.folder).map_err(no)?;
    Ok(output.line(&format!("{}", args.folder.display()))?)
}
