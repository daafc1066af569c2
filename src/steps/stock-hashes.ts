/** By the name of the handler. */
export type StockHashes = Readonly<Record<string, readonly string[]>>;

/**
 * SHA-256 of every version of the sample handlers that AWS IoT Device Client has shipped, up to its release 1.10. A
 * site that has one of them as it came has not written it, and the built-in step runs in its place.
 */
export const STOCK_HASHES: StockHashes = {
  'download-file.sh': [
    '014d38ee14cf46b58d1f6983f952bab969206e73ad419dbb4a19da9f83306d2e',
    '0fc869fd0a6db4d9b0779fe0de8ed161188a1fb0853214a475fa774ee42d10ba',
    'cb27448abd22241988310e67c3b10e63c7b9b3fc1850f355ea14f2d1a52f20a2',
    'cc15e8d55eec9a787419b6dd27008b367709cdb50bdcfbaf681ec9cd4e1845e3',
  ],
  'health-check.sh': ['910a813dfc2464cac7695bc06e4f14428f295b933924be7f66ec9ac31b4ee1e7'],
  'install-packages.sh': [
    '7f2223c09381cb67c2509b5fc249dc061a505a07ce47fc8e62749d0ef8b80523',
    'fa417d3f64f426ff350cadb55c7b561420a5bfdfabe17ded9c910e1ab15dc140',
  ],
  'reboot.sh': [
    '815769438586d3968940594bf6e8dbe9fa2728c73b09c1d6e34a66608f06a2db',
    'c71090b1bcd0da0ac91cec8b708d4d402abf8c35aee80cf5e4625e414f9c1db0',
    'dc3dd459e62211f8707c1b27f7a1d2a7a800313c15cc19e85a7d84076db6ce0b',
    'dea0c500d63ecb80c35e0cea1930f601b5e8b39d56b94eeac7b0e8abd9842efa',
    'ea612f835186c0734af1875a8ecab3b86ee890fcdc1eaa2f9b4f029295a24c92',
  ],
  'remove-packages.sh': [
    '8903c945cb7b0d578c47cf617f02aa66ee1720331e8a0bacdfbed79d7ec2fb78',
    'f3cef00fcbf2ef725fada224ee3997cbb732002ad3ef69c7355e7e050a9209a3',
  ],
  'restart-services.sh': [
    '460f5981fdef4370527b47acb06e194f8ffc745d57f69eb6e0f85e9ee776a6ca',
    '514ea051347e9e395d68096b6edb193c373f9cca5f0f4cb72b90690dd3fabfda',
    '5ed5689b703104eae76d5ff859d15478160120bfffae9ece9dbfc49af2e02a51',
    '7bb26cbb382d5339446072b2502a1695abb1f13d3b9a7be054a63b9d17d1bd3d',
    '95a83aa6bb7a0087a86d9005da8ffdee9a6bb00548554824c1d2e35729877697',
    'b3c2bbb55a182a9a4fdda95edb4c7839b17444ae3a97d1308906d88be57ed1ec',
    'e8716e9bca0c7f8ff2307599864ea1d1925cc5cf089f06ab2090e96e9f7bcf87',
  ],
  'shutdown.sh': [
    '735546b5671adcf7f602164ddbc853c4c0a643952cfb63fd2af1b4ae2e275d0a',
    '9a00e62d501ec4030c4c67fcc684c572335ef9bd1f3eabfbcb34c5e728ab5ce0',
  ],
  'start-services.sh': [
    '1d26efb0b6d0e468ade75952c7f38314f643e340f26509a70785559eb857ddf8',
    '9e7f65b2778eb1097004534cf223c5889bacf6c60d4f3e593b5a7f395a6e2f85',
    'a3c4cbf86ee8754d7f6f369effbfbad21d22681aa4cb1bbd9d4089640c5b4be3',
  ],
  'stop-services.sh': [
    '25d58078da72e324f0988079af4593e8a6de0fa988bc2393cd7da9993c68bf8c',
    '85417532b900a7ac937f2fdf3d29dd40d853d8bc0c6b032d2012e8cb1c547e10',
    'ad15175ab3b57955b365c8d95763ff51bccf94e4ba36dac8341aab9ec7ff78fc',
    'faa9926d24914cfc51364ad3e9a14cbd7496c61f3bcf198765cec94f79feab0c',
  ],
  'verify-packages-installed.sh': [
    '143ca334585c1e5f6da5f02427e5e3d4298cda6ae84a0ae09a5d3bee8914e172',
    '3208466ff0bceadeaf30bbf51d9711498b657926f8a4dbc1ee85971c5cbfda40',
    '60581d8017b3550c04643da343d7fd4a7979d4fbbfd53635a91c36866daeb4e4',
    'e62b3951670b7c8a6fbdaf171d29b738ab0462eb919534cde3f97807ac2179f1',
    'f13ef0cd0f5ba77cbd435c85fb394f61d643b961351199e8ad4d0aae8b55c44a',
  ],
  'verify-packages-removed.sh': [
    '32f5f89ddeeff6e1e79955752314be93e0dea86f1c7f8bf6a065536e41255c39',
    '9048d73a82ddb6b6b3852ca20eade793162cef0e497f80116698a083c2bb0f9c',
  ],
};
