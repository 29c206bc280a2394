//! Runs the models and prints a table. Called by `cargo xtask verify`, which builds it as it must be.

#[cfg(shmfuse_loom)]
mod runner;

#[cfg(shmfuse_loom)]
fn main() -> std::process::ExitCode {
    runner::main()
}

#[cfg(not(shmfuse_loom))]
fn main() -> std::process::ExitCode {
    eprintln!("this build has no models in it: run `cargo xtask verify`");
    std::process::ExitCode::FAILURE
}
