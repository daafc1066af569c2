/** Who acts: the client id, and what the certificate says where there is one. */
export interface Principal {
  client: string;
  commonName?: string;
  certificateId?: string;
}

export type PolicyAction = 'connect' | 'publish' | 'subscribe' | 'receive';

/** What an IoT policy would deny (T7, A22). */
export interface Policy {
  denies(action: PolicyAction, principal: Principal, topic?: string): boolean;
}
