/** Where devices and service meet: a broker inside the simulator, or one that runs elsewhere. */
export interface MqttPlane {
  url: string;
  /** Only where TLS is offered. */
  tlsUrl?: string;
  /** Bytes as they are, anything else as JSON. */
  publish(topic: string, body: object, qos?: 0 | 1): void;
  /** Ends the connection of a client id, as a dying network does; false when it is known that there is none. */
  disconnect(clientId: string): boolean;
  /** Forgets the session of a client that is not connected; false when there is none. */
  expireSession(clientId: string): Promise<boolean>;
  /** Who is connected, as far as it is known. */
  clients(): ConnectedClient[];
  close(): Promise<void>;
}

export interface ConnectedClient {
  client: string;
  clean: boolean;
  secure: boolean;
  commonName?: string;
  certificateId?: string;
  subscriptions: readonly string[];
}
