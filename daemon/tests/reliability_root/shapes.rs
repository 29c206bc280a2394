//! Files and trees of unusual shape.

use crate::common::{LowerFs, TestMount, Variant, bash};
use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

fn a_tree_deeper_than_any_path_is_long_is_made_walked_and_removed(mount: &TestMount) {
    // 60 directories with names of 100 bytes: 6,000 bytes of path, PATH_MAX is 4096.
    let text = bash(
        mount.path(),
        "name=$(printf %0100d 0)
         for i in {1..60}; do mkdir $name; cd $name; done
         echo deepest >file; cat file",
    );
    assert_eq!(text, "deepest\n");
    assert_eq!(bash(mount.path(), "find . -type d | wc -l"), "61\n");
    assert_eq!(
        bash(mount.path(), "find . -name file -execdir cat {} +"),
        "deepest\n"
    );
    bash(mount.path(), "rm -r 0*; test -z \"$(ls)\"");
}

/// What can be done at the far end of a file, with its results.
fn at_the_far_end(path: &Path) -> Vec<String> {
    const END: u64 = i64::MAX as u64;
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .expect("a file");
    let mut buffer = [9; 4];
    let errno = |error: std::io::Error| error.raw_os_error();
    vec![
        format!("{:?}", file.set_len(END).map_err(errno)),
        format!("{:?}", file.write_at(b"end", END - 4096).map_err(errno)),
        format!(
            "{:?} {buffer:?}",
            file.read_at(&mut buffer.clone(), END - 4096).map_err(errno)
        ),
        format!("{:?}", file.read_at(&mut buffer, END - 4096).map_err(errno)),
        format!("{buffer:?}"),
        format!("{:?}", file.write_at(b"beyond", END - 3).map_err(errno)),
        format!(
            "{:?}",
            file.metadata().map(|meta| meta.len()).map_err(errno)
        ),
        format!("{:?}", file.read_at(&mut buffer, 1 << 60).map_err(errno)),
        format!("{:?}", file.set_len(0).map_err(errno)),
    ]
}

fn the_far_end_of_a_file_of_8_eib_is_as_below(variant: Variant) {
    let mount = TestMount::builder(variant)
        .lower_fs(LowerFs::Memory)
        .mount();
    let above = at_the_far_end(&mount.path().join("file"));
    let below = at_the_far_end(&mount.plain().join("file"));
    assert_eq!(above, below);
    assert_eq!(above[0], "Ok(())", "tmpfs has files of this length");
    mount.finish();
}

for_every_transport!(
    on_mount,
    [a_tree_deeper_than_any_path_is_long_is_made_walked_and_removed]
);

mod far {
    use super::*;
    for_every_daemon_variant!(on_variant, [the_far_end_of_a_file_of_8_eib_is_as_below]);
}
