//! SQLite with a write-ahead log: byte-range locks, and memory shared between processes.

use crate::common::{TestMount, bash, run_in};

const ROWS: u32 = 100;

fn two_processes_write_one_sqlite_database_in_wal_mode(mount: &TestMount) {
    let [on_mount, on_plain] = [mount.path(), mount.plain()].map(|dir| {
        let mode = run_in(
            dir,
            "sqlite3",
            &["db", "PRAGMA journal_mode=WAL; CREATE TABLE t(who, n);"],
        );
        assert_eq!(mode.trim(), "wal");
        bash(
            dir,
            &format!(
                "for who in a b; do
                     {{ echo '.timeout 60000'
                        for ((n = 0; n < {ROWS}; n++)); do
                            echo \"INSERT INTO t VALUES('$who', $n);\"
                            echo 'SELECT count(*) FROM t;'
                        done; }} >$who.sql
                 done
                 sqlite3 -bail db <a.sql >a.out & a=$!
                 sqlite3 -bail db <b.sql >b.out & b=$!
                 wait $a; wait $b
                 for out in a.out b.out; do sort -nc $out; done"
            ),
        );
        let check = run_in(dir, "sqlite3", &["db", "PRAGMA integrity_check;"]);
        assert_eq!(check.trim(), "ok");
        run_in(
            dir,
            "sqlite3",
            &["db", "SELECT who, n FROM t ORDER BY who, n;"],
        )
    });
    assert_eq!(on_mount.lines().count(), 2 * ROWS as usize);
    assert_eq!(on_mount, on_plain);
    let below = run_in(mount.lower(), "sqlite3", &["db", "PRAGMA integrity_check;"]);
    assert_eq!(below.trim(), "ok");
}

for_every_variant_and_writeback!(
    on_mount,
    [two_processes_write_one_sqlite_database_in_wal_mode]
);
