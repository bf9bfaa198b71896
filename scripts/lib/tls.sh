# A certificate authority of our own and what it signs. Keys are EC P-256: fast to make, and usable for channel binding.

# make_ca DIR: ca.crt and ca.key
make_ca() {
  (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -keyout "$1/ca.key" -out "$1/ca.crt" -subj '/CN=Safe Boundary demo CA' \
    -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null)
  chmod 644 "$1/ca.crt"
}

# make_certificate DIR NAME: NAME.crt and NAME.key for localhost, signed by DIR's authority
make_certificate() {
  (umask 077 && openssl req -x509 -CA "$1/ca.crt" -CAkey "$1/ca.key" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -days 30 -keyout "$1/$2.key" -out "$1/$2.crt" -subj '/CN=localhost' \
    -addext 'basicConstraints=critical,CA:FALSE' -addext 'extendedKeyUsage=serverAuth' \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' 2>/dev/null)
  chmod 644 "$1/$2.crt"
}
