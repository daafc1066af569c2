/** Who acts: the client id, and the name in the certificate where there is one. */
export interface Principal {
  client: string;
  commonName?: string;
}

export type PolicyAction = 'connect' | 'publish' | 'subscribe' | 'receive';

/** What an IoT policy would deny (T7, A22). */
export interface Policy {
  denies(action: PolicyAction, principal: Principal, topic?: string): boolean;
}
