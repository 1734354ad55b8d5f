use super::readings::Room;
use super::*;
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;

fn ample() -> Readings {
    Readings {
        memory: Some(Pool { total: 16 * GIB, free: 8 * GIB }),
        pressure: Some(0),
        tasks: Some(Pool { total: 32_768, free: 30_000 }),
        files: Some(Pool { total: 100_000, free: 90_000 }),
        disks: vec![Room { bytes: 10 * GIB, inodes: None }; 2],
        run: Some(Room { bytes: GIB, inodes: Some(100_000) }),
    }
}

#[test]
fn each_thing_that_is_scarce_is_named() {
    assert_eq!(judge(&ample(), 1), Ok(()));
    let scarce = |change: &dyn Fn(&mut Readings)| {
        let mut readings = ample();
        change(&mut readings);
        judge(&readings, 1)
    };
    let pool = |total, free| Some(Pool { total, free });
    assert_eq!(scarce(&|host| host.memory = pool(16 * GIB, 16 * GIB / 33)), Err(Scarce::Memory));
    assert_eq!(scarce(&|host| host.memory = pool(GIB, 260 * MIB)), Err(Scarce::Memory));
    assert_eq!(scarce(&|host| host.memory = pool(GIB, 265 * MIB)), Ok(()));
    assert_eq!(scarce(&|host| host.tasks = pool(32_768, 2_050)), Err(Scarce::Processes));
    assert_eq!(scarce(&|host| host.files = pool(1600, 200)), Err(Scarce::Files));
    assert_eq!(scarce(&|host| host.disks[1].bytes = 256 * MIB), Err(Scarce::Disk));
    assert_eq!(scarce(&|host| host.run = Some(Room { bytes: 1000, inodes: None })), Err(Scarce::Disk));
    assert_eq!(scarce(&|host| host.run = Some(Room { bytes: GIB, inodes: Some(3) })), Err(Scarce::Files));
}

#[test]
fn a_tenant_that_thrashes_within_its_limit_closes_the_host_for_nobody() {
    let mut host = ample();
    host.pressure = Some(9_900);
    assert_eq!(judge(&host, 1), Ok(()));
    host.memory = Some(Pool { total: 16 * GIB, free: GIB });
    assert_eq!(judge(&host, 1), Err(Scarce::Pressure));
    host.pressure = Some(100);
    assert_eq!(judge(&host, 1), Ok(()));
}

#[test]
fn what_cannot_be_read_refuses_nothing() {
    let places = Places { disks: vec!["/nowhere".into()], run_dir: "/nowhere".into() };
    let readings = Readings::take(&BTreeMap::new(), &places);
    assert_eq!(judge(&readings, 1), Ok(()));
    assert_eq!(keep_promise(&readings, u64::MAX, Some(Overcommit { percent: 1 })), Ok(()));
}

#[test]
fn a_host_is_read_as_its_files_say() {
    let host = BTreeMap::from(
        [
            ("/proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"),
            (
                "/proc/pressure/memory",
                "some avg10=9.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=1.25 avg60=0.00 avg300=0.00 total=0\n",
            ),
            ("/proc/loadavg", "0.09 0.10 0.05 1/345 6789\n"),
            ("/proc/sys/kernel/pid_max", "4194304\n"),
            ("/proc/sys/kernel/threads-max", "1000\n"),
            ("/proc/sys/fs/file-nr", "100\t0\t900\n"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned())),
    );
    let places = Places { disks: vec!["/".into()], run_dir: "/".into() };
    let readings = Readings::take(&host, &places);
    assert_eq!(readings.memory, Some(Pool { total: 1000 << 10, free: 400 << 10 }));
    assert_eq!(readings.pressure, Some(125));
    assert_eq!(readings.tasks, Some(Pool { total: 1000, free: 655 }));
    assert_eq!(readings.files, Some(Pool { total: 900, free: 800 }));
    assert!(readings.disks.len() == 1 && readings.run.is_some());
}

#[test]
fn a_burst_counts_what_it_adds_and_promises_are_bounded_where_that_is_asked_for() {
    let places = Places { disks: Vec::new(), run_dir: "/".into() };
    let meminfo = format!("MemTotal: {} kB\nMemAvailable: {} kB\n", 1 << 20, 256 * 1024 + 20 * 1024);
    let host = BTreeMap::from([("/proc/meminfo".to_owned(), meminfo)]);
    let mut admission = Admission::new(places.clone(), None);
    let answers: Vec<_> = (0..4).map(|_| admission.admit(&host, u64::MAX)).collect();
    // 20 MiB above the reserve are two sandboxes.
    assert_eq!(answers, [Ok(()), Ok(()), Err(Scarce::Memory), Err(Scarce::Memory)]);
    let mut admission = Admission::new(places, Some(Overcommit { percent: 150 }));
    assert_eq!(admission.admit(&host, GIB * 3 / 2), Ok(()));
    assert_eq!(admission.admit(&host, GIB * 3 / 2 + 1), Err(Scarce::Memory));
}
