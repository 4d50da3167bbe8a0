// Linked into static binaries only; see the Dockerfile. glibc looks names up in the ways that
// /etc/nsswitch.conf lists, and loads a shared library for each one but `files` and `dns`. In a static
// binary such a library of the host, as of systemd-resolved or mDNS, ends the process with SIGFPE unless
// the host has exactly the glibc that was linked. So these lookups use what is linked, whatever the file
// says.
#include <nss.h>

__attribute__((constructor)) static void use_linked_lookups(void) {
    __nss_configure_lookup("hosts", "files dns");
    __nss_configure_lookup("passwd", "files");
    __nss_configure_lookup("group", "files");
}
