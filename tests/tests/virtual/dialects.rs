//! iPXE scripts as provisioning servers write them, from DHCP to a kernel in memory. The scripts are ours, after what is
//! known of each server's dialect and manners.

use smoltcp::time::Duration;
use tests::{Http, Random, Reply, Site, lines, payload};

fn millis(at: u64) -> Duration {
    Duration::from_millis(at)
}

const HEXHYP: &str = "b8-27-eb-01-02-03";
const UUID: &str = "52506934-8220-a000-eb01-0203efbead5e";

#[test]
fn warewulf_expands_the_boot_file_and_goes_on_without_its_runtime_overlay() {
    let mut site = Site::named(
        1,
        "http://192.168.7.2/ipxe/${mac:hexhyp}?assetkey=${asset}&uuid=${uuid}",
    );
    let query = format!("?assetkey=a02082&uuid={UUID}");
    site.route(
        &format!("/ipxe/{HEXHYP}{query}"),
        [Reply::ok(
            r"#!ipxe

# Downloads by stages, compressed where the firmware can unpack
set uri http://192.168.7.2/provision/${mac:hexhyp}?assetkey=${asset}&uuid=${uuid}
echo Node ${net0/ip} from ${next-server}
iseq ${platform} efi && goto efi ||
goto failed
:efi
kernel --name kernel ${uri}&stage=kernel || goto failed
imgextract --name image ${uri}&stage=image&compress=gz || goto failed
initrd --name system ${uri}&stage=system || goto failed
initrd --name runtime ${uri}&stage=runtime && set runtime initrd=runtime || echo no runtime overlay
goto run
:run
boot kernel initrd=image initrd=system ${runtime} wwid=${net0/mac:hexhyp} quiet || goto failed
:failed
sleep 30
reboot
",
        )],
    );
    let stage = |name: &str| format!("/provision/{HEXHYP}{query}&stage={name}");
    let (image, system) = (payload::body(9000, 1), payload::body(500, 2));
    site.route(&stage("kernel"), [Reply::ok(site.kernel.clone()).chunked(1000)]);
    site.route(
        &format!("{}&compress=gz", stage("image")),
        [Reply::ok(payload::gzip(&image))],
    );
    site.route(&stage("system"), [Reply::ok(system.clone())]);
    site.route(&stage("runtime"), [Reply::status("401 Unauthorized", "no")]);
    let handoff = site.boot().unwrap();
    let loaded = site.inspect(&handoff);
    assert_eq!(loaded.initrd[..9000], image);
    assert_eq!(loaded.initrd[12288..12788], system);
    assert!(
        loaded
            .bootargs
            .contains(&format!("initrd=image initrd=system  wwid={HEXHYP} quiet"))
    );
    assert!(site.errors().is_empty());
    let log = lines();
    assert!(
        log.iter()
            .any(|line| line.text.contains("stage=runtime: 401 Unauthorized")),
        "the failure that the script provides for is told"
    );
}

const XYZ_MENU: &str = r"#!ipxe
:start
chain --autofree boot.cfg ||
ntp 0.pool.ntp.org ||
iseq ${cls} serial && goto ignore_cls ||
set cls:hex 1b:5b:4a  # ANSI clear
set cls ${cls:string}
:ignore_cls
isset ${hostname} && chain --autofree HOSTNAME-${hostname}.ipxe ||
chain --autofree MAC-${mac:hexraw}.ipxe ||
isset ${arch} && goto skip_arch_detect ||
cpuid --ext 29 && set arch x86_64 || set arch i386
iseq ${buildarch} arm64 && set arch arm64 ||
:skip_arch_detect
isset ${menu} && goto ${menu} ||
:main_menu
clear menu
set space:hex 20:20
set space ${space:string}
menu ${site_name} [ ${arch} ]
item --gap Default:
item local ${space} Boot from a local disk
item --gap Distributions:
iseq ${arch} arm64 && item --key l linux ${space} Linux (${arch}) ||
item exit ${space} Exit
isset ${menu} && set timeout 0 || set timeout ${boot_timeout}
choose --timeout ${timeout} --default ${menu} menu || goto local
echo ${cls}
goto ${menu} ||
chain ${menu}.ipxe || goto error
goto main_menu
:local
sanboot --no-describe --drive 0x80 || goto main_menu
:exit
exit 1
:error
echo Error occurred, press any key
prompt --timeout 10000
goto main_menu
";

const XYZ_LINUX: &str = r"#!ipxe
goto ${menu} ||
:linux
set os Linux
menu ${os}
item --gap Releases
item bookworm ${space} Debian 12
item trixie ${space} Debian 13
choose version || goto linux_exit
set mirror http://192.168.7.2
imgfree
kernel ${mirror}/${version}/vmlinuz initrd=initrd.magic ${cmdline}
initrd ${mirror}/${version}/initrd
md5sum vmlinuz initrd
boot
goto linux_exit
:linux_exit
clear menu
exit 0
";

/// A menu in the manner of netboot.xyz; its kernels are redirected to another host.
fn xyz(seed: u64) -> Site {
    let site = Site::named(seed, "http://192.168.7.2/menu.ipxe");
    site.route("/menu.ipxe", [Reply::ok(XYZ_MENU)]);
    site.route(
        "/boot.cfg",
        [Reply::ok(
            "#!ipxe\n:global_vars\nset site_name our boot menu\nset boot_timeout 30000\nset cmdline quiet\n",
        )],
    );
    site.route("/linux.ipxe", [Reply::ok(XYZ_LINUX)]);
    for version in ["bookworm", "trixie"] {
        let path = format!("/{version}/vmlinuz");
        site.route(
            &path,
            [Reply::redirect(302, &format!("http://192.168.7.3/{version}"))],
        );
        site.route(&format!("/{version}/initrd"), [Reply::ok(site.initrd.clone())]);
    }
    let mirror = site.lan.attach(Http::new([192, 168, 7, 3]));
    for version in ["bookworm", "trixie"] {
        mirror
            .borrow_mut()
            .route(&format!("/{version}"), [Reply::ok(site.kernel.clone())]);
    }
    site
}

#[test]
fn a_menu_in_the_manner_of_netboot_xyz_by_keys() {
    let mut site = xyz(2);
    // The hot key chooses at once; then down and Enter.
    site.node = std::mem::take(&mut site.node)
        .types(millis(8000), b"l")
        .types(millis(12000), b"\x1b[B")
        .types(millis(13000), b"\r");
    let loaded = site.boots();
    assert!(loaded.bootargs.contains("initrd=initrd.magic quiet"));
    let asked = site.asked();
    assert_eq!(asked[..3], ["/menu.ipxe", "/boot.cfg", "/MAC-b827eb010203.ipxe"]);
    assert_eq!(asked[3..], ["/linux.ipxe", "/trixie/vmlinuz", "/trixie/initrd"]);
    let screen = site.node.screen();
    for text in ["our boot menu [ arm64 ]", "Linux (arm64)", "[l]", "Debian 13"] {
        assert!(screen.contains(text), "{text} is not on the screen");
    }
}

#[test]
fn an_unattended_menu_under_a_hail_of_bytes_takes_its_default_in_time() {
    let mut site = xyz(3);
    site.route(
        "/boot.cfg",
        [Reply::ok("#!ipxe\nset version bookworm\nset cmdline quiet\n")],
    );
    site.route(
        "/linux.ipxe",
        [Reply::ok(
            XYZ_LINUX.replace("choose version", "choose --timeout 20000 version"),
        )],
    );
    site.route(
        "/menu.ipxe",
        [Reply::ok(
            "#!ipxe\nchain boot.cfg\nmenu M\nitem other Other\nitem linux Linux\n\
             choose --timeout 5000 --default linux menu\nprompt --key s --timeout 1000 press s && shell ||\n\
             chain ${menu}.ipxe\n",
        )],
    );
    let mut random = Random::new(99);
    let mut bytes = [0; 4000];
    random.fill(&mut bytes);
    let mut node = std::mem::take(&mut site.node);
    for (i, pair) in bytes.chunks(2).enumerate() {
        // Bursts and lone bytes, but no key that a person might have pressed for these menus.
        let noise: Vec<u8> = pair
            .iter()
            .map(|byte| match byte {
                b'\r' | b'\n' | 0x1b | 3 | b's' => b'x',
                other => *other,
            })
            .collect();
        node = node.types(millis(4000 + 30 * i as u64), noise);
    }
    site.node = node;
    site.boots();
    let at = boot::Clock::now(&site.lan).total_millis();
    assert!((20_000..90_000).contains(&at), "{at}");
}

#[test]
fn tinkerbell_retries_each_file_and_knows_its_nodes_by_address() {
    let mut site = Site::named(4, "http://192.168.7.2/b8:27:eb:01:02:03/auto.ipxe");
    site.route(
        "/b8:27:eb:01:02:03/auto.ipxe",
        [Reply::ok(
            r"#!ipxe
echo Loading the in-memory system...
set arch ${buildarch}
iseq ${arch} arm32 && set arch aarch64 ||
iseq ${arch} arm64 && set arch aarch64 ||
set base http://192.168.7.2/hook
set retries:int32 10
set retry_delay:int32 3
set worker_id ${mac}
set idx:int32 0
:retry_kernel
kernel ${base}/vmlinuz-${arch} \
  worker_id=${worker_id} console=ttyAMA0 tink_worker=${uuid} && goto download_initrd || iseq ${idx} ${retries} && goto kernel-error || inc idx && echo retry in ${retry_delay} seconds ; sleep ${retry_delay} ; goto retry_kernel
:download_initrd
set idx:int32 0
:retry_initrd
initrd ${base}/initramfs-${arch} && goto boot || iseq ${idx} ${retries} && goto initrd-error || inc idx && sleep ${retry_delay} ; goto retry_initrd
:boot
set idx:int32 0
:retry_boot
boot || iseq ${idx} ${retries} && goto boot-error || inc idx && sleep ${retry_delay} ; goto retry_boot
:kernel-error
exit
:initrd-error
exit
:boot-error
exit
",
        )],
    );
    let busy = || Reply::status("503 Busy", "later");
    site.route(
        "/hook/vmlinuz-aarch64",
        [busy(), busy(), Reply::ok(site.kernel.clone())],
    );
    site.route(
        "/hook/initramfs-aarch64",
        [busy(), Reply::ok(site.initrd.clone())],
    );
    let loaded = site.boots();
    assert!(
        loaded
            .bootargs
            .contains("worker_id=b8:27:eb:01:02:03 console=ttyAMA0 tink_worker=52506934-")
    );
    assert!(site.errors().is_empty());
    assert_eq!(site.asked().len(), 6);
}

/// A site whose DHCP server gives class `iPXE` its own iPXE, as a program, and only that the script.
fn tinkerbell(seed: u64, script: Option<&str>) -> Site {
    let site = Site::named(seed, "http://192.168.7.2/b8:27:eb:01:02:03/snp-arm64.efi");
    site.dhcp.borrow_mut().classes = vec![("Tinkerbell".into(), script.map(Into::into))];
    site.route(
        "/b8:27:eb:01:02:03/snp-arm64.efi",
        [Reply::ok(b"MZ\0\0".repeat(1000))],
    );
    site.route(
        "/b8:27:eb:01:02:03/auto.ipxe",
        [Reply::ok("#!ipxe\nkernel /boot/Image once\nboot\n")],
    );
    site
}

/// The user classes of all DISCOVERs, in order.
fn classes(site: &Site) -> Vec<String> {
    let dhcp = site.dhcp.borrow();
    let discovers = dhcp.log.iter().filter(|message| message.kind == 1);
    discovers
        .map(|message| String::from_utf8(message.options[&77].clone()).unwrap())
        .collect()
}

#[test]
fn tinkerbell_that_names_a_program_is_asked_again_by_its_own_name() {
    let mut site = tinkerbell(40, Some("http://192.168.7.2/b8:27:eb:01:02:03/auto.ipxe"));
    let handoff = site.boot().unwrap();
    assert!(site.inspect(&handoff).bootargs.contains("once"));
    assert_eq!(classes(&site), ["iPXE", "Tinkerbell"]);
    assert!(site.errors().is_empty());
    let at = boot::Clock::now(&site.lan).total_millis();
    assert!(at < 5_000, "{at}");
}

#[test]
fn a_server_that_knows_no_other_class_costs_ten_seconds_and_no_more() {
    for script in [None, Some("http://192.168.7.2/b8:27:eb:01:02:03/snp-arm64.efi")] {
        let mut site = tinkerbell(41, script);
        let error = site.boot_attempts(2).unwrap_err().to_string();
        assert!(error.contains("none in"), "{error}");
        let asked = classes(&site);
        assert_eq!((asked[0].as_str(), asked[1].as_str()), ("iPXE", "Tinkerbell"));
        assert!(
            asked[2..].contains(&"iPXE".into()),
            "each attempt begins as the node itself: {asked:?}"
        );
        let at = boot::Clock::now(&site.lan).total_millis();
        assert!(at < 40_000, "{at}");
    }
}

#[test]
fn matchbox_is_asked_by_relative_names_until_it_knows_the_node() {
    let mut site = Site::named(5, "http://192.168.7.2/boot.ipxe");
    site.dhcp.borrow_mut().options.push((12, b"node7".to_vec()));
    site.route(
        "/boot.ipxe",
        [Reply::ok(
            "#!ipxe\nchain ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}\
             &serial=${serial}&arch=${buildarch:uristring}\n",
        )],
    );
    let path = format!("/ipxe?uuid={UUID}&mac={HEXHYP}&domain=&hostname=node7&serial=5eadbeef&arch=arm64");
    site.route(
        &path,
        [
            Reply::status("404 Not Found", "no profile"),
            Reply::ok("#!ipxe\nkernel /assets/kernel coreos.config.url=http://m/ignition?uuid=${uuid}\ninitrd /assets/initrd\nboot\n"),
        ],
    );
    site.route("/assets/kernel", [Reply::ok(site.kernel.clone())]);
    site.route("/assets/initrd", [Reply::ok(site.initrd.clone())]);
    site.boots();
    let errors = site.errors();
    assert_eq!(errors.len(), 1, "one attempt failed, the next did not");
    assert!(
        errors[0]
            .text
            .starts_with("script: http://192.168.7.2/boot.ipxe line 2: chain ipxe?uuid=")
            && errors[0].text.ends_with(": 404 Not Found"),
        "{}",
        errors[0].text
    );
}

#[test]
fn a_boot_script_service_sends_an_unknown_node_round_until_it_is_known() {
    let mut site = Site::named(
        6,
        "http://192.168.7.2/boot/v1/bootscript?mac=${mac}&arch=${buildarch}",
    );
    let path = "/boot/v1/bootscript?mac=b8:27:eb:01:02:03&arch=arm64";
    let unknown = "#!ipxe\necho Unknown, again in 10 s\nsleep 10\n\
                   chain http://192.168.7.2/boot/v1/bootscript?mac=${mac}&arch=${buildarch}\n";
    let known = "#!ipxe\nkernel --name kernel http://192.168.7.2/k || goto boot_retry\n\
                 initrd --name initrd http://192.168.7.2/i || goto boot_retry\n\
                 boot kernel initrd=initrd\n:boot_retry\nsleep 30\nexit 1\n";
    // More often than scripts may be nested.
    let replies = std::iter::repeat_n(unknown, 50).chain([known]).map(Reply::ok);
    site.route(path, replies);
    site.route("/k", [Reply::ok(site.kernel.clone())]);
    site.route("/i", [Reply::ok(site.initrd.clone())]);
    site.boots();
    assert!(site.errors().is_empty());
    assert!(boot::Clock::now(&site.lan).total_millis() > 500_000);
}

#[test]
fn fog_is_posted_what_the_node_is_and_answers_with_a_script() {
    let mut site = Site::named(7, "http://192.168.7.2/fog/default.ipxe");
    site.route(
        "/fog/default.ipxe",
        [Reply::ok(
            r"#!ipxe
cpuid --ext 29 && set arch x86_64 || set arch ${buildarch}
params
param mac0 ${net0/mac}
param arch ${arch}
param platform ${platform}
param product ${product}
param filename ${filename}
isset ${net1/mac} && param mac1 ${net1/mac} || goto bootme
:bootme
chain http://192.168.7.2/fog/boot.php##params
",
        )],
    );
    site.route(
        "/fog/boot.php",
        [Reply::ok("#!ipxe\nkernel k loglevel=4\nimgfetch i\nboot\n")],
    );
    site.route("/fog/k", [Reply::ok(site.kernel.clone())]);
    site.route("/fog/i", [Reply::ok(site.initrd.clone())]);
    site.boots();
    let http = site.http.borrow();
    let post = &http.log[1];
    assert!(post.head.starts_with("POST /fog/boot.php HTTP/1.1\r\n"));
    assert_eq!(
        post.body,
        "mac0=b8%3A27%3Aeb%3A01%3A02%3A03&arch=arm64&platform=efi&product=Raspberry%20Pi%203%20Model%20B\
         &filename=http%3A%2F%2F192.168.7.2%2Ffog%2Fdefault.ipxe"
    );
}

#[test]
fn digitalrebar_tries_its_names_and_the_loop_over_interfaces_ends() {
    let mut site = Site::named(8, "http://192.168.7.2/default.ipxe");
    site.route(
        "/default.ipxe",
        [Reply::ok(
            r"#!ipxe
chain ${netX/mac}.ipxe && exit 1 || goto chainip
:chainip
chain ${netX/ip}.ipxe && exit 1 || goto sledgehammer
:sledgehammer
set netid:int32 -1
:loop
inc netid
isset ${net${netid}/mac} || goto done
chain pxelinux.cfg/${net${netid}/mac:hexhyp} || goto loop
:done
chain ${builtin/buildarch}.ipxe || exit 1
",
        )],
    );
    site.route(
        "/arm64.ipxe",
        [Reply::ok(
            "#!gpxe \r\nkernel /k BOOTIF=01-${netX/mac:hexhyp}\r\ninitrd /i\r\nboot\r\n",
        )],
    );
    site.route("/k", [Reply::ok(payload::gzip(&site.kernel))]);
    site.route("/i", [Reply::ok(site.initrd.clone())]);
    let loaded = site.boots();
    assert!(loaded.bootargs.contains(&format!("BOOTIF=01-{HEXHYP}")));
    assert_eq!(
        site.asked(),
        [
            "/default.ipxe",
            "/b8:27:eb:01:02:03.ipxe",
            "/192.168.7.100.ipxe",
            &format!("/pxelinux.cfg/{HEXHYP}"),
            "/arm64.ipxe",
            "/k",
            "/i"
        ]
    );
}

#[test]
fn foreman_sends_a_script_with_its_404_that_is_not_run() {
    let mut site = Site::named(20, "http://192.168.7.2/unattended/iPXE?bootstrap=1");
    site.route(
        "/unattended/iPXE?bootstrap=1",
        [Reply::ok(
            r"#!gpxe

set attempt:int32 0
:loop_mac
isset ${net0/mac} || goto no_nic
chain http://192.168.7.2/unattended/iPXE?mac=${net0/mac} || goto next
exit 0
:next
inc attempt
iseq ${attempt} 3 && goto chainload_failed ||
sleep 5
goto loop_mac
:no_nic
echo No interface
:chainload_failed
echo Unknown to the server, on to the next boot device
exit 1
",
        )],
    );
    // What a browser would show, and what a client that ran it would wait at for ever.
    let unknown = "#!gpxe\necho ERROR: unable to find the host\nshell\n";
    site.route(
        "/unattended/iPXE?mac=b8:27:eb:01:02:03",
        [
            Reply::status("404 Not Found", unknown),
            Reply::status("404 Not Found", unknown),
            Reply::ok(
                "#!gpxe\nkernel http://192.168.7.2/boot/Image ks=http://192.168.7.2/unattended/provision?token=7 \
                 ksdevice=${net0/mac} BOOTIF=01-${net0/mac:hexhyp}\n\
                 initrd http://192.168.7.2/boot/initrd.img\nimgstat\nsleep 2\nboot\n",
            ),
        ],
    );
    let loaded = site.boots();
    assert!(
        loaded
            .bootargs
            .contains(&format!("ksdevice=b8:27:eb:01:02:03 BOOTIF=01-{HEXHYP}"))
    );
    assert!(site.errors().is_empty());
    assert!(!site.node.screen().contains("unable to find the host"));
    assert_eq!(site.asked().len(), 6);
}

#[test]
fn maas_survives_that_its_first_name_is_absent() {
    let mut site = Site::named(21, "http://192.168.7.2/ipxe.cfg");
    site.route(
        "/ipxe.cfg",
        [Reply::ok(
            "#!ipxe\nchain ipxe.cfg-${mac} ||\nchain ipxe.cfg-default-amd64\n",
        )],
    );
    site.route(
        "/ipxe.cfg-default-amd64",
        [Reply::ok(
            "#!ipxe\necho Commissioning\nkernel /images/sha256/ga/boot-kernel nomodeset\n\
             initrd /images/sha256/ga/boot-initrd\n\
             imgargs boot-kernel nomodeset ro root=squash:http://192.168.7.2/squashfs ip=::::node:BOOTIF \
             cloud-config-url=http://192.168.7.2/?op=get_preseed cc:{'datasource_list':['MAAS']}end_cc BOOTIF=01-${mac}\n\
             boot || goto error\n:error\nprompt --timeout 5000\n",
        )],
    );
    site.route(
        "/images/sha256/ga/boot-kernel",
        [Reply::ok(payload::gzip(&site.kernel))],
    );
    site.route("/images/sha256/ga/boot-initrd", [Reply::ok(site.initrd.clone())]);
    let bootargs = site.boots().bootargs;
    assert!(
        bootargs.contains("nomodeset ro root=squash:http://192.168.7.2/squashfs ip=::::node:BOOTIF"),
        "imgargs replaces what kernel said: {bootargs}"
    );
    assert!(bootargs.contains("cc:{'datasource_list':['MAAS']}end_cc BOOTIF=01-b8:27:eb:01:02:03"));
    assert_eq!(site.asked()[..2], ["/ipxe.cfg", "/ipxe.cfg-b8:27:eb:01:02:03"]);
}

#[test]
fn ironic_falls_through_its_interfaces_and_tries_a_slow_image_server_again() {
    let mut site = Site::named(22, "http://192.168.7.2/boot.ipxe");
    site.route(
        "/boot.ipxe",
        [Reply::ok(
            r"#!ipxe
isset ${mac:hexhyp} && goto boot_system ||
chain ipa_fallback.ipxe

:boot_system
chain pxelinux.cfg/${mac:hexhyp} || goto inspector_ipa

:inspector_ipa
set netid:int32 -1
:loop
inc netid || chain pxelinux.cfg/${mac:hexhyp} | goto old_rom
isset ${net${netid}/mac} || goto loop_done
echo Attempting to boot from MAC ${net${netid}/mac:hexhyp}
chain inspector/${net${netid}/mac:hexhyp} || goto loop
:loop_done
echo PXE boot failed, no configuration found for any interface
sleep 10
reboot
:old_rom
exit
",
        )],
    );
    site.route(
        &format!("/inspector/{HEXHYP}"),
        [Reply::ok(
            r"#!ipxe
set attempts:int32 3
set i:int32 0
goto deploy
:deploy
imgfree
kernel --timeout 10000 http://192.168.7.2/k selinux=0 systemd.journald.forward_to_console=yes BOOTIF=${mac} initrd=ramdisk || goto retry
initrd --name ramdisk --timeout 10000 http://192.168.7.2/i || goto retry
boot
:retry
iseq ${i} ${attempts} && goto fail ||
inc i
echo No response, attempt ${i} of ${attempts}
sleep 2
goto deploy
:fail
echo Failed
exit 1
",
        )],
    );
    // Ten seconds without a byte are too long for the script, not for the node.
    site.route(
        "/k",
        [
            Reply::ok(site.kernel.clone()).stalled(20_000),
            Reply::ok(site.kernel.clone()),
        ],
    );
    site.route("/i", [Reply::ok(site.initrd.clone())]);
    let bootargs = site.boots().bootargs;
    assert!(bootargs.contains("BOOTIF=b8:27:eb:01:02:03 initrd=ramdisk"));
    assert!(site.errors().is_empty());
    assert!(site.node.screen().contains("No response, attempt 1 of 3"));
}

#[test]
fn cobbler_answers_nothing_until_the_system_is_there() {
    let path = "/cblr/svc/op/ipxe/system/node7";
    let mut site = Site::named(23, &format!("http://192.168.7.2{path}"));
    site.route(
        path,
        [
            Reply::ok(""),
            Reply::ok(
                "#!ipxe\n:rocky9-aarch64\nkernel /images/rocky9-aarch64/vmlinuz   inst.ks=http://192.168.7.2/cblr/svc/op/autoinstall/system/node7\n\
                 initrd /images/rocky9-aarch64/initrd.img\nboot\n",
            ),
        ],
    );
    site.route("/images/rocky9-aarch64/vmlinuz", [Reply::ok(site.kernel.clone())]);
    site.route(
        "/images/rocky9-aarch64/initrd.img",
        [Reply::ok(site.initrd.clone())],
    );
    let bootargs = site.boots().bootargs;
    assert!(bootargs.contains("inst.ks=http://192.168.7.2/cblr/svc/op/autoinstall/system/node7"));
    let errors = site.errors();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].text.contains("got an empty file"), "{}", errors[0].text);
}

#[test]
fn xcat_loads_by_the_old_names_of_the_commands() {
    let mut site = Site::named(24, "http://${next-server}/tftpboot/xcat/xnba/nodes/node7");
    site.dhcp.borrow_mut().next_server = [192, 168, 7, 2].into();
    site.route(
        "/tftpboot/xcat/xnba/nodes/node7",
        [Reply::ok(
            "#!gpxe\n#netboot rocky9-aarch64-compute\n\
             imgfetch -n kernel http://${next-server}/tftpboot/xcat/osimage/kernel\n\
             imgload kernel\n\
             imgargs kernel imgurl=http://${next-server}:80/install/rootimg.cpio.gz XCAT=${next-server}:3001 \
             NODE=node7 BOOTIF=01-${netX/machyp} ifname=eth0:${netX/mac}\n\
             imgfetch -n nbfs http://${next-server}/tftpboot/xcat/osimage/initrd-stateless.gz\n\
             imgexec kernel\n",
        )],
    );
    site.route("/tftpboot/xcat/osimage/kernel", [Reply::ok(site.kernel.clone())]);
    site.route(
        "/tftpboot/xcat/osimage/initrd-stateless.gz",
        [Reply::ok(site.initrd.clone())],
    );
    let bootargs = site.boots().bootargs;
    assert!(
        bootargs.contains("XCAT=192.168.7.2:3001 NODE=node7 BOOTIF=01- ifname=eth0:b8:27:eb:01:02:03"),
        "machyp is no setting of iPXE's: {bootargs}"
    );
}

const SIDERO: &str = r"#!ipxe
goto init
:init
set attempts:int32 10
set i:int32 0
ifclose
:next_round
set idx:int32 0
:loop isset ${net${idx}/mac} || goto loop_done
echo Trying net${idx}
iflinkwait --timeout 5000 net${idx} || goto next_interface
dhcp net${idx} || goto next_interface
goto boot
:next_interface
ifclose net${idx} && inc idx && goto loop
:loop_done
iseq ${i} ${attempts} && goto give_up ||
inc i
sleep 1
goto next_round
:give_up
reboot
:boot
route
chain --replace http://192.168.7.2/ipxe?uuid=${uuid}&mac=${net${idx}/mac:hexhyp}&domain=${domain}&hostname=${hostname}&serial=${serial}&arch=${buildarch}
";

#[test]
fn sidero_is_not_ready_then_allocates_the_node_then_sends_it_to_its_disk() {
    let path = format!("/ipxe?uuid={UUID}&mac={HEXHYP}&domain=&hostname=&serial=5eadbeef&arch=arm64");
    let agent = "#!ipxe\nkernel /env/agent-arm64/vmlinuz initrd=initramfs.xz talos.platform=metal\n\
                 initrd /env/agent-arm64/initramfs.xz\nboot\n";
    let mut allocated = Site::named(25, "http://192.168.7.2/boot.ipxe");
    allocated.route("/boot.ipxe", [Reply::ok(SIDERO)]);
    allocated.route(
        &path,
        [
            Reply::status("412 Precondition Failed", "not ready"),
            Reply::ok(agent),
        ],
    );
    allocated.route("/env/agent-arm64/vmlinuz", [Reply::ok(allocated.kernel.clone())]);
    allocated.route(
        "/env/agent-arm64/initramfs.xz",
        [Reply::ok(allocated.initrd.clone())],
    );
    allocated.boots();
    let errors = allocated.errors();
    assert_eq!(errors.len(), 1, "the attempt before it was ready");
    assert!(errors[0].text.contains("412"), "{}", errors[0].text);

    // Installed: the disk, which is said plainly to be out of reach, and asked again for ever.
    for reply in [
        Reply::ok("#!ipxe\nexit\n"),
        Reply::ok("#!ipxe\nsanboot --no-describe --drive 0x80\n"),
        Reply::status("404 Not Found", "boot from disk"),
    ] {
        let mut installed = Site::named(26, "http://192.168.7.2/boot.ipxe");
        installed.route("/boot.ipxe", [Reply::ok(SIDERO)]);
        installed.route(&path, [reply]);
        installed.boot_attempts(2).unwrap_err();
        assert_eq!(installed.asked().len(), 4);
        assert_eq!(installed.errors().len(), 2);
    }
}

#[test]
fn nix_netboot_serve_redirects_streams_its_kernel_and_thinks_long() {
    let mut site = Site::named(27, "http://192.168.7.2/dispatch/hostname/node7");
    site.route(
        "/dispatch/hostname/node7",
        [Reply::redirect(
            302,
            "/boot/abc-nixos-system-node7-23.11/netboot.ipxe",
        )],
    );
    let boot = "/boot/abc-nixos-system-node7-23.11";
    site.route(
        &format!("{boot}/netboot.ipxe"),
        [Reply::ok(
            "#!ipxe\necho Booting, the initrd may stay before 0% for a minute or two\n\
             kernel bzImage rdinit=/init console=ttyS0 init=/nix/store/abc/init\ninitrd initrd\nboot\n",
        )],
    );
    site.route(
        &format!("{boot}/bzImage"),
        [Reply::ok(site.kernel.clone()).chunked(4096)],
    );
    site.route(
        &format!("{boot}/initrd"),
        [Reply::ok(site.initrd.clone()).after(Duration::from_secs(110))],
    );
    let bootargs = site.boots().bootargs;
    assert!(bootargs.contains("rdinit=/init console=ttyS0 init=/nix/store/abc/init"));
    assert_eq!(site.booted_at(), 110);
    assert!(site.errors().is_empty());
    assert_eq!(site.asked().len(), 4, "nothing was asked for twice");
}

#[test]
fn an_image_factory_takes_its_password_from_the_url_and_another_host_never_hears_it() {
    let mut site = Site::named(
        28,
        "http://node:s3cret@192.168.7.2/pxe/376567988ad3/v1.10.0/metal-arm64",
    );
    site.route(
        "/pxe/376567988ad3/v1.10.0/metal-arm64",
        [Reply::ok(
            "#!ipxe\nimgfree\nkernel http://node:s3cret@192.168.7.2/image/kernel-arm64 talos.platform=metal\n\
             initrd http://node:s3cret@192.168.7.2/image/initramfs-arm64.xz\nboot\n",
        )],
    );
    site.route(
        "/image/kernel-arm64",
        [Reply::redirect(
            302,
            "http://192.168.7.3/store/kernel?X-Signature=abc%2Fdef",
        )],
    );
    site.route("/image/initramfs-arm64.xz", [Reply::ok(site.initrd.clone())]);
    let store = site.lan.attach(Http::new([192, 168, 7, 3]));
    store.borrow_mut().route(
        "/store/kernel?X-Signature=abc%2Fdef",
        [Reply::ok(site.kernel.clone()).until_close()],
    );
    let basic = |head: &str| head.contains("Authorization: Basic bm9kZTpzM2NyZXQ=\r\n");
    site.http.borrow_mut().guard = Some(Box::new(move |head| {
        let asks = Reply::status("401 Unauthorized", "").header("WWW-Authenticate: Basic realm=\"factory\"");
        (!basic(head)).then_some(asks)
    }));
    site.boots();
    // The first request asks whether a password is wanted at all.
    let known: Vec<bool> = site.http.borrow().log.iter().map(|r| basic(&r.head)).collect();
    assert_eq!(known, [false, true, true, true]);
    let store = store.borrow();
    assert!(
        store
            .log
            .iter()
            .all(|request| !request.head.contains("Authorization"))
    );
    assert_eq!(store.log.len(), 1);
    assert!(lines().iter().all(|line| !line.text.contains("s3cret")));
}
