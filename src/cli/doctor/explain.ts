/** What a refused or lost link means, for a person: the words of socket, TLS and MQTT, and what is behind them. */
export interface Explanation {
  cause: string;
  fix: string;
}

const CONNECT_FIX = `check, in this order:
the certificate is ACTIVE:    aws iot describe-certificate --certificate-id ID
a policy is attached to it:   aws iot list-attached-policies --target CERTIFICATE_ARN
the policy allows iot:Connect on this client id: evenkeel policy`;
const CLOCK_FIX =
  'set the clock and see why it is not kept: timedatectl; a device without a battery clock needs NTP before it connects';
const CA_FIX =
  'give the authority that signed it as connection.ca (AWS: AmazonRootCA1.pem from https://www.amazontrust.com/repository/), or leave it out to trust those of Node.js; a proxy that opens TLS has an authority of its own';

/** In order: the first that fits is it. */
const EXPLANATIONS: readonly [pattern: RegExp, cause: string, fix: string][] = [
  [
    /cannot load the PKCS#11 library/,
    'the library of the token is not there, or is none for this machine',
    "correct connection.pkcs11.library: the .so of the token's maker, such as /usr/lib/softhsm/libsofthsm2.so",
  ],
  [
    /cannot find the PKCS#11 token/,
    'the token is not plugged in, or has another label or slot',
    'pkcs11-tool --module LIBRARY --list-token-slots shows what is there; then connection.pkcs11.token or .slot',
  ],
  [
    /cannot find .* in the PKCS#11 token/,
    'the token has no such private key, or several that it could be',
    'pkcs11-tool --module LIBRARY --login --list-objects --type privkey shows them; then connection.pkcs11.key',
  ],
  [
    /the PIN of the PKCS#11 token.* is locked/,
    'too many wrong PINs were tried',
    "have the token's security officer unlock it (pkcs11-tool --init-pin), and correct connection.pkcs11.pin first",
  ],
  [
    /PKCS#11 token.* refuses the PIN/,
    'the PIN is wrong',
    'correct connection.pkcs11.pin (in quotes), and start the agent again: each try brings the token nearer to locking itself',
  ],
  [
    /PKCS#11 token.* cannot be used/,
    'the token does not do what is asked of it',
    'is a PIN wanted (connection.pkcs11.pin)? may this user use the token? see the manual of its maker',
  ],
  [
    /TLS_ERROR_NEGOTIATION/,
    'TLS failed: a key that is not that of the certificate, a certificate that the broker does not take, or a broker that is not trusted',
    `is the key of connection.pkcs11 that of connection.certificate? else ${CONNECT_FIX}`,
  ],
  [
    /session taken over/i,
    'the client id is in use: another client connected with it, and the broker ended this session (L26)',
    'give each device its own thing and connection.clientId; look for a second agent, a copied image, or a test client with this id',
  ],
  [
    /the proxy .*\b407\b/,
    'the proxy wants a user name and a password, or does not take those that it gets',
    'connection.proxy: http://USER:PASSWORD@HOST:PORT',
  ],
  [
    /the proxy .*(refuses|hung up|no HTTP)/,
    'the proxy refuses the tunnel',
    'have it allow CONNECT to the endpoint and its port, or take connection.proxy out',
  ],
  [
    /cannot reach the proxy/,
    'the proxy does not answer',
    'correct connection.proxy, or take it out; is the proxy up?',
  ],
  [
    /ENOTFOUND|EAI_AGAIN|EAI_NODATA|ENODATA/,
    'the name of the broker does not resolve: a misspelt connection.url, or no working resolver',
    'AWS: aws iot describe-endpoint --endpoint-type iot:Data-ATS; resolver: cat /etc/resolv.conf, getent hosts NAME',
  ],
  [
    /ECONNREFUSED/,
    'nothing listens there: a wrong host or port, or the broker is down',
    'correct connection.url; at AWS the port is 8883, or 443',
  ],
  [
    /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    'the address does not answer: no route, or a firewall drops the port',
    'check the route (ip route get ADDRESS); where 8883 is blocked, use port 443: mqtts://HOST:443',
  ],
  [
    /not yet valid/i,
    'a certificate is not yet valid by the clock of this machine: the clock is behind',
    CLOCK_FIX,
  ],
  [
    /alert (certificate )?expired|CERTIFICATE_EXPIRED/i,
    'the broker says that the client certificate has expired',
    'issue a new certificate for this thing, or see whether the clock of the broker is right',
  ],
  [
    /certificate has expired/i,
    'the certificate of the broker has expired by the clock of this machine',
    `renew it on the broker; if it is good there, ${CLOCK_FIX}`,
  ],
  [
    /self[- ]signed|unable to (get|verify)|unable to get local issuer/i,
    'the certificate of the broker was signed by an authority that is not trusted here',
    CA_FIX,
  ],
  [
    /altnames|does not match certificate/i,
    'the certificate of the broker is for another name',
    'use the name that it proves in connection.url, or give it as connection.serverName',
  ],
  [
    /no[ _]application[ _]protocol/i,
    'the broker does not speak what ALPN offers',
    'on 443 AWS wants x-amzn-mqtt-ca; for another broker set connection.alpn, [] to offer nothing',
  ],
  [
    /wrong version number|packet length too long|EPROTO.*(http|unknown)/i,
    'the port does not speak TLS',
    'use mqtt:// for a broker without TLS, or its TLS port',
  ],
  [
    /key values mismatch/i,
    'the private key does not belong to the certificate',
    'set connection.privateKey to the key of this very certificate',
  ],
  [
    /certificate[ _]required|handshake failure/i,
    'the broker wants a client certificate',
    'set connection.certificate and connection.privateKey',
  ],
  [
    /alert (unknown ca|bad certificate|certificate unknown|certificate revoked|access denied)|ALERT_/i,
    'the broker does not take the client certificate: not registered or not active there, or of an authority that it does not know',
    CONNECT_FIX,
  ],
  [
    /client ?identifier|identifier rejected/i,
    'the broker does not take the client id',
    'connection.clientId: at most 128 characters, and at AWS one that the policy allows',
  ],
  [
    /bad user ?name/i,
    'the broker does not take the user name and password',
    'correct connection.username and connection.password',
  ],
  [
    /cannot (subscribe|publish).*/i,
    'the policy of the certificate does not allow a topic, and the broker refuses or hangs up',
    'evenkeel policy prints what is needed; with the agent stopped, evenkeel doctor tries each filter and names it',
  ],
  [
    /not authorized/i,
    'the broker refuses the connection: by the policy, or the client certificate is not active',
    CONNECT_FIX,
  ],
  [
    /server (unavailable|busy)|connection rate|quota/i,
    'the broker is overloaded, or this account is at a limit',
    'nothing on this device: the agent tries again by itself',
  ],
  [
    /hung up before CONNACK|hung up instead of CONNACK/,
    'the broker hung up instead of answering CONNECT: the client certificate is not active, no policy is attached to it, or the policy does not allow iot:Connect on this client id; a broker with TLS also does that to mqtt://',
    CONNECT_FIX,
  ],
  [
    /no (CONNACK|SUBACK) within/,
    'the connection stands and the broker does not answer: an overloaded broker, a captive portal, or a firewall that swallows packets',
    'try from another network; compare with: openssl s_client -connect HOST:PORT',
  ],
  [
    /ECONNRESET|EPIPE|socket disconnected|hung up|socket hang up/i,
    'the other side hung up: AWS does that to a certificate that is not active, to what the policy forbids, and to the older of two clients with one id',
    CONNECT_FIX,
  ],
];

export function explain(words: string): Explanation {
  const found = EXPLANATIONS.find(([pattern]) => pattern.test(words));
  if (found) return { cause: found[1], fix: found[2] };
  return { cause: words, fix: 'see the log of the agent: journalctl -u evenkeel' };
}
