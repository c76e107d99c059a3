/* net/dgram_local.c - IP_PKTINFO and IPV6_PKTINFO. */
#include "net/dgram_local.h"

#include <string.h>

#include "io/io.h"
#include "net/addr.h"

bool dgram_ask_local(struct io *io, int fd)
{
    struct endpoint at = {.len = sizeof at.at};
    int on = 1;
    if (io->ops->local_address(io, fd, &at.at.sa, &at.len) < 0)
        return false;
    bool is_any4 =
        at.at.sa.sa_family == AF_INET && at.at.in.sin_addr.s_addr == htonl(INADDR_ANY);
    bool is_any6 =
        at.at.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&at.at.in6.sin6_addr);
    /* On an old kernel this fails: replies go by the route, as without it. */
    if (is_any4)
        (void)io->ops->set_option(io, fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    if (is_any6)
        (void)io->ops->set_option(io, fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    return is_any4 || is_any6;
}

void dgram_read_local(struct msghdr *header, struct local_info *local)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
            local->family = AF_INET;
            memcpy(&local->as.v4, CMSG_DATA(cmsg), sizeof local->as.v4);
            /* ip(7): the local address to answer from; where the datagram was sent to may be one
             * of many, a broadcast. The route decides, as for any reply. */
            if (local->as.v4.ipi_spec_dst.s_addr ==
                0) /* it came before the option was set */
                local->as.v4.ipi_spec_dst = local->as.v4.ipi_addr;
            local->as.v4.ipi_addr.s_addr = 0;
            local->as.v4.ipi_ifindex = 0;
        } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
            local->family = AF_INET6;
            memcpy(&local->as.v6, CMSG_DATA(cmsg), sizeof local->as.v6);
        }
    }
}

void dgram_write_local(struct msghdr *header, char *control, const struct local_info *local)
{
    if (!local->family)
        return;
    bool v4 = local->family == AF_INET;
    size_t len = v4 ? sizeof local->as.v4 : sizeof local->as.v6;
    header->msg_control = control;
    header->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(header);
    cmsg->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    cmsg->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
    cmsg->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(cmsg), &local->as, len);
}
