/** Where devices and service meet: a broker inside the simulator, or one that runs elsewhere. */
export interface MqttPlane {
  url: string;
  publish(topic: string, body: object): void;
  /** Ends the connection of a client id, as a dying network does. */
  disconnect(clientId: string): void;
  close(): Promise<void>;
}
