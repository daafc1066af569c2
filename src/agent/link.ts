import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { namesOf, type Plan } from '../document/plan.ts';

/** Where Debian keeps what a connection depends on. */
const LINK_PATHS = [
  '/etc/hosts',
  '/etc/resolv.conf',
  '/etc/nsswitch.conf',
  '/etc/network',
  '/etc/netplan',
  '/etc/NetworkManager',
  '/etc/systemd/network',
  '/etc/systemd/resolved.conf',
  '/etc/dhcpcd.conf',
  '/etc/wpa_supplicant',
  '/etc/nftables.conf',
  '/etc/iptables',
  '/etc/ssl',
  '/etc/ca-certificates',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
];

/** What brings a device its addresses, its resolver and its firewall, by the names of their units. */
const LINK_UNITS =
  /^(NetworkManager|ModemManager|systemd-(networkd|resolved)|networking|ifup@.*|wpa_supplicant(@.*)?|dhcpcd(@.*)?|connman|iwd|hostapd|nftables|iptables|netfilter-persistent|ufw|firewalld|openvpn(-client)?(@.*)?|wg-quick@.*|tailscaled|dnsmasq|unbound)\.(service|socket)$/;

/** True when the plan declares to touch what the link depends on; `own` are the agent's config and credentials. */
export function touchesLink(plan: Plan, own: readonly string[]): boolean {
  const roots = [...LINK_PATHS, ...own];
  const within = (path: string, root: string): boolean => path === root || path.startsWith(`${root}/`);
  return plan.steps.some(
    ({ type, touches, endsBoot }) =>
      endsBoot === true ||
      // What a package does to the network is not known beforehand.
      ['installPackages', 'removePackages'].includes(type) ||
      namesOf('path', touches).some((path) =>
        roots.some((root) => within(path, root) || within(root, path)),
      ) ||
      namesOf('unit', touches).some((unit) => LINK_UNITS.test(unit)),
  );
}

/** Addresses, routes and resolver as one string; reading it costs no packet. */
export async function linkFingerprint(): Promise<string> {
  const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
  const addresses = Object.entries(networkInterfaces())
    .flatMap(([name, infos]) => (infos ?? []).map(({ address }) => `${name} ${address}`))
    .sort();
  // Counters stand behind the first columns of the route table and change by themselves.
  const routes = (await read('/proc/net/route'))
    .split('\n')
    .map((line) => line.split('\t').slice(0, 3).join(' '));
  return JSON.stringify([addresses, routes, await read('/etc/resolv.conf')]);
}
