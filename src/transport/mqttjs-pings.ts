import type { MqttClient } from 'mqtt';

/**
 * PINGREQ on demand. PINGRESP carries no id and mqtt.js sends pings of its own for the keep-alive, so all of them are
 * counted: an answer to an earlier one is no answer to ours.
 */
export interface Pings {
  send(answered: () => void): void;
}

export function createPings(client: MqttClient): Pings {
  let sentCount = 0;
  let answeredCount = 0;
  const waiting: { number: number; answered: () => void }[] = [];
  client.on('packetsend', (packet) => {
    if (packet.cmd === 'pingreq') sentCount += 1;
  });
  client.on('packetreceive', (packet) => {
    if (packet.cmd !== 'pingresp') return;
    answeredCount += 1;
    while (waiting[0] !== undefined && waiting[0].number <= answeredCount) waiting.shift()?.answered();
  });
  return {
    send(answered) {
      client.sendPing();
      waiting.push({ number: sentCount, answered });
    },
  };
}
